"""Taxonomies of tests."""

ONE_LEAF = """
name = "one leaf"
version = 1
[[domain]]
name = "d"
[[domain.group]]
name = "g"
leaves = [{ name = "a" }]
"""
