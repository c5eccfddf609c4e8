"""What the commands do: one file a family. It gives `COMMANDS`, and is loaded when one of them is typed."""
