"""A judge that sees the picture compares the two answers of a pair, in both orders."""
