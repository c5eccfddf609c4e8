"""Reads and decodes untrusted images, compares them, and prepares them for models."""
