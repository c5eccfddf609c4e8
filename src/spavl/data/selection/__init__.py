"""Which images are used: no image twice, a quota for each leaf, each in one split. Writes Image rows."""
