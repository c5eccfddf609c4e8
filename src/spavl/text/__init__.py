"""Text utilities: language, similarity, degenerate answers, parsing of replies, safe printing."""
