"""Before and after: two models answer images that no training saw, and are judged."""
