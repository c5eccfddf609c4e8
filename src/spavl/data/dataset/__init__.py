"""The finished data set: split by image, audited for leaks, written as Parquet."""
