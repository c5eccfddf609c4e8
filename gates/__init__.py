"""The project's own gates: rules that no other tool checks. `python -m gates` runs them all.

A rule without a gate is a wish. Each gate is one file with a `check(root)` that returns the
faults it found; nothing here imports spavl, except the generated docs, which are made from it.
"""
