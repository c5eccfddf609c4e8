"""Evaluations: benchmarks put to models, under several conditions, and what judges make of the answers."""
