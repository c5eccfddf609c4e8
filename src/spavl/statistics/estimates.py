"""An estimate: a value with its n and its interval."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

Z95 = 1.959963984540054


class Estimate(NamedTuple):
    """A value, the number of items from which it was computed, and its 95 % interval."""

    value: float
    n: int
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        """The estimate for a JSON file, with null for NaN and infinity, which JSON lacks."""
        return {name: each if math.isfinite(each) else None for name, each in self._asdict().items()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Estimate":
        """The estimate that `as_json` wrote; null becomes NaN."""
        value, low, high = (math.nan if raw.get(key) is None else float(raw[key]) for key in ("value", "low", "high"))
        return cls(value, int(raw.get("n") or 0), low, high)
