"""Reads sources that are not sorted by leaf: one file a format, each a stream of entries."""
