"""Runs the stages of a build in order: registry, settings, preflight checks, cost estimate, report."""
