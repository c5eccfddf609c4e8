"""The `spavl` command: one file a family of commands in `commands/`."""
