"""Readers of unsorted sources: one file for each format, each gives a stream of entries."""
