"""The miniature: a synthetic world, its grammar and its personas. See docs/miniature.md."""
