"""The code of the commands: one file per family. It defines `COMMANDS`, and is imported when one of them is typed."""
