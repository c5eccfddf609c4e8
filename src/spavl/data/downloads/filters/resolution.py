"""Rejects images that are too small, and banners."""

from spavl.data.downloads.filters.types import FilterInput


class ShorterSideFilter:
    """The shorter side, in pixels."""

    name, reason = "side", "too_small"

    def __init__(self, smallest: int) -> None:
        self._smallest = smallest

    def measure(self, seen: FilterInput) -> float:
        return min(seen.pixels.size)

    def refuses(self, measured: float) -> bool:
        return measured < self._smallest


class AspectRatioFilter:
    """The longer side over the shorter one."""

    name, reason = "aspect", "too_wide"

    def __init__(self, widest: float) -> None:
        self._widest = widest

    def measure(self, seen: FilterInput) -> float:
        return max(seen.pixels.size) / min(seen.pixels.size)

    def refuses(self, measured: float) -> bool:
        return measured > self._widest
