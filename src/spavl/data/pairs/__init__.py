"""Samples two answers to a question, such as from responders on different tiers."""
