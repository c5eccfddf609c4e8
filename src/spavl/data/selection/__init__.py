"""Selects images: no duplicates, a quota for each leaf, one split for each image. Writes Image rows."""
