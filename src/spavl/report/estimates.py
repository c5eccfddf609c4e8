"""Estimates as they come out of JSON."""

from typing import Any

from spavl.statistics import Estimate


def estimate(raw: Any) -> Estimate | None:
    """An estimate from JSON, or nothing where none was written."""
    return Estimate.from_json(raw) if raw else None
