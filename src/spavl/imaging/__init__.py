"""Bytes of images that strangers made: where they lie on this disk, and how they are decoded without harm."""
