"""The finished data set: split by picture, audited for leaks, exported."""
