"""Who says what is safe and what is better: guards judge one answer, judges compare two."""
