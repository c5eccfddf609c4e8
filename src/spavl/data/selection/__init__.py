"""Which pictures are used: no picture twice, a quota for each leaf, each in one split. Writes Image rows."""
