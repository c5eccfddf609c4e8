"""Before and after: two models answer pictures that no training saw, and are judged."""
