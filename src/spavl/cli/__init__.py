"""The `spavl` command: one file for each command in `commands/`."""
