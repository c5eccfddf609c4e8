"""The miniature: a small drawn world, its grammar and its personas. See docs/miniature.md."""
