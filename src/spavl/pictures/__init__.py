"""Fetches candidates, decodes them safely and measures them. Writes Photo rows and blobs."""
