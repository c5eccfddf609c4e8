"""Evaluates models on benchmarks: items, answers, judgements, metrics, comparison, report."""
