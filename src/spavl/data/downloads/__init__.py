"""Fetches candidates, decodes them in sandboxed workers, measures and filters them."""
