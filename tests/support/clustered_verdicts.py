"""Verdicts in clusters drawn from known laws, and how often an interval misses the truth above and below.

`python -m tests.support.clustered_verdicts 400` goes through the whole grid in a quarter of an hour, with so many draws
of each.
"""

import math
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from spavl.statistics import Estimate, rate_by_cluster

# Each cluster's own rate: beta; a logit that is normal; two-valued, where some are "hot" at 90 % and set the
# correlation; or 3 % of clusters hot, which hold as much of the rate as they can, up to 90 % of it.
Law = Literal["beta", "logit-normal", "hot", "3 % hot"]
MIXED = 0
Rng = np.random.Generator
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(120)


class Setting(NamedTuple):
    law: Law
    rate: float
    clusters: int
    # Of every cluster, or MIXED: even from 1 to 20.
    size: int
    # The correlation of two items of a cluster; that of "3 % hot" follows from its rate.
    icc: float

    def hot(self) -> tuple[float, float, float]:
        """How many clusters are hot, their rate and that of the others."""
        if self.law == "3 % hot":
            rate = min(0.9, 0.9 * self.rate / 0.03)
            return 0.03, rate, (self.rate - 0.03 * rate) / 0.97
        rate = 0.9
        other = self.rate - self.icc * self.rate * (1 - self.rate) / (rate - self.rate)
        if other < 0:
            rate, other = min(1.0, self.rate + self.icc * (1 - self.rate)), 0.0
        return (self.rate - other) / (rate - other), rate, other

    def draw(self, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
        """The hits and the size of every cluster."""
        k = self.clusters
        sizes = rng.integers(1, 21, k) if self.size == MIXED else np.full(k, self.size)
        if self.law in ("hot", "3 % hot"):
            share, hot, other = self.hot()
            rates = np.where(rng.random(k) < share, hot, other)
        elif self.icc == 0:
            rates = np.full(k, self.rate)
        elif self.law == "beta":
            whole = 1 / self.icc - 1
            rates = rng.beta(self.rate * whole, (1 - self.rate) * whole, k)
        else:
            level, spread = _logit_normal(self.rate, self.icc)
            rates = 1 / (1 + np.exp(-(level + spread * rng.standard_normal(k))))
        return rng.binomial(sizes, rates), sizes


@cache
def _logit_normal(rate: float, icc: float) -> tuple[float, float]:
    """The level and the spread of logits that have this rate and this correlation."""

    def shares(level: float, spread: float) -> np.ndarray:
        return 1 / (1 + np.exp(-(level + spread * _NODES)))

    def mean(values: np.ndarray) -> float:
        return float((_WEIGHTS * values).sum() / _WEIGHTS.sum())

    def halved(rising: Callable[[float], float], low: float, high: float) -> float:
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if rising(middle) < 0 else (low, middle)
        return low

    def level_at(spread: float) -> float:
        return halved(lambda level: mean(shares(level, spread)) - rate, -60, 60)

    spread = halved(lambda own: mean((shares(level_at(own), own) - rate) ** 2) - icc * rate * (1 - rate), 1e-3, 14)
    return level_at(spread), spread


def verdicts(hits: Sequence[int], sizes: Sequence[int]) -> tuple[list[float], list[int]]:
    """Every item, and its cluster."""
    values = [float(item < own) for own, size in zip(hits, sizes, strict=True) for item in range(size)]
    return values, [cluster for cluster, size in enumerate(sizes) for _ in range(size)]


class Missed(NamedTuple):
    """How often the truth lay above the interval and below it, and how wide that is."""

    above: float
    below: float
    width: float


def misses(
    setting: Setting,
    draws: int,
    estimate: Callable[[list[float], list[int]], Estimate] = rate_by_cluster,
) -> Missed:
    rng = np.random.default_rng(zlib.crc32(repr(setting).encode()))
    seen: dict[tuple[tuple[int, int], ...], Estimate] = {}
    found = []
    for _ in range(draws):
        hits, sizes = setting.draw(rng)
        log = tuple(sorted(zip(hits.tolist(), sizes.tolist(), strict=True)))
        if log not in seen:
            seen[log] = estimate(*verdicts(*zip(*log, strict=True)))
        found.append(seen[log])
    return Missed(
        sum(each.high < setting.rate for each in found) / draws,
        sum(each.low > setting.rate for each in found) / draws,
        sum(each.high - each.low for each in found) / draws,
    )


def allowed(draws: int) -> float:
    """What 2.5 % may look like in so many draws: three standard errors more."""
    return 0.025 + 3 * math.sqrt(0.025 * 0.975 / draws)


def grid() -> Iterator[Setting]:
    laws: tuple[Law, ...] = ("beta", "logit-normal", "hot")
    for rate, clusters, size in product((0.01, 0.03, 0.05, 0.2, 0.5), (10, 20, 40, 200), (3, 10, 20, MIXED)):
        yield Setting("beta", rate, clusters, size, 0.0)
        for law, icc in product(laws, (0.1, 0.3, 0.6)):
            yield Setting(law, rate, clusters, size, icc)
    for rate, clusters, size in product((0.03, 0.05, 0.2), (10, 20, 40, 200), (3, 10, 20, MIXED)):
        yield Setting("3 % hot", rate, clusters, size, math.nan)


def main(draws: int) -> None:
    """A line for each setting: how many hot clusters are to be expected, and what is missed."""
    for setting in grid():
        share = setting.hot()[0] if "hot" in setting.law else math.nan
        told = (*setting, round(setting.clusters * share, 3), *misses(setting, draws))
        sys.stdout.write("\t".join(map(str, told)) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
