"""Benchmarks: each a small file that reads what its makers published, from where the user has it."""
