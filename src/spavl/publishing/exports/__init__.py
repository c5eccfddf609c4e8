"""Exports to the formats of other trainers; one file each, with `export(run, out)`."""
