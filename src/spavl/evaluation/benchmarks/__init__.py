"""Benchmarks: each a small module that reads the published files from a folder of the user's."""
