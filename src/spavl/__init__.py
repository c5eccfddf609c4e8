"""spavl makes vision-language models safe without making them useless, and proves it."""

__version__ = "0.1.0"
