"""Readers of unsorted sources: one file for each format, each of which yields entries."""
