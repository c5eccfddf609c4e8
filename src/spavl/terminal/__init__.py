"""Progress on the terminal: the live table and plain lines."""
