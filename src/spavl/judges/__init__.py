"""Guards judge one answer, judges compare two: prompts, parsers, canaries."""
