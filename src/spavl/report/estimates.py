"""Reads estimates from JSON."""

from typing import Any

from spavl.statistics import Estimate


def estimate(raw: Any) -> Estimate | None:
    """An estimate from JSON; None if none was written."""
    return Estimate.from_json(raw) if raw else None
