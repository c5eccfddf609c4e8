"""Estimates as they come out of JSON."""

import math
from typing import Any

from spavl.statistics import Estimate


def estimate(raw: Any) -> Estimate | None:
    """An estimate from JSON, where not-a-number and no end are written as null."""
    if not raw:
        return None
    value, low, high = (math.nan if raw.get(key) is None else float(raw[key]) for key in ("value", "low", "high"))
    return Estimate(value, int(raw.get("n") or 0), low, high)
