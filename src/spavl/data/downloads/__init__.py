"""Fetches candidates, decodes them safely, measures and filters them. Writes Photo rows and blobs."""
