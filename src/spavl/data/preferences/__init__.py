"""A judge that sees the image compares the two answers of a pair, in both orders."""
