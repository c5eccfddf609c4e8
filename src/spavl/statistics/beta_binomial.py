"""A beta-binomial model of the rate of clustered verdicts, integrated on a grid.

A cluster-robust variance is too small if few clusters have a hit: it contains only the variation that was observed.
This model averages over all within-cluster correlations that the counts allow (Bowyer et al. 2025, arXiv 2503.01747).
The prior is Jeffreys' on the mean rate and uniform on the correlation of two items of a cluster. Nothing is sampled:
the same counts give the same interval.
"""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float64]
# The smallest correlation on the grid: below it the log-gamma function loses its precision.
_LEAST_CORRELATION = 1e-6
# Cells whose log-posterior is this far below the maximum do not change an interval of 95 %.
_NEGLIGIBLE = 18.0
_COARSE, _FINE = (16, 16), (64, 24)
# The number of factors that are multiplied one by one; the rest of a longer product uses the log-gamma function.
_MULTIPLIED = 32
# The number of lengths that are computed at once, which bounds the memory.
_AT_ONCE = 32


def rate_bounds(clusters: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the mean rate, from the hits and the size of every cluster."""
    counts = Counter((round(hits), round(size)) for hits, size in clusters)
    (hits, sizes), numbers = np.array(list(counts), dtype=float).T, np.array(list(counts.values()), dtype=float)
    # On these scales an even grid corresponds to Jeffreys' prior, and is dense at small correlations.
    box = [(0.0, math.pi / 2), (0.0, 1.0)]
    for _ in range(6):
        angles, roots = (_cells(side, number) for side, number in zip(box, _COARSE, strict=True))
        kept = _log_posterior(hits, sizes, numbers, angles, roots) > -_NEGLIGIBLE
        narrower = [_around(np.unique(np.nonzero(kept)[axis]), *box[axis], _COARSE[axis]) for axis in range(2)]
        settled = all(_width(new) > 0.6 * _width(old) for new, old in zip(narrower, box, strict=True))
        box = narrower
        if settled:
            break
    angles, roots = (_cells(side, number) for side, number in zip(box, _FINE, strict=True))
    shares = np.exp(_log_posterior(hits, sizes, numbers, angles, roots)).sum(axis=1)
    below = np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    low, high = np.interp((0.025, 0.975), below, np.linspace(*box[0], _FINE[0] + 1))
    return math.sin(low) ** 2, math.sin(high) ** 2


def _cells(side: tuple[float, float], number: int) -> Grid:
    """The midpoints of `number` equal cells."""
    edges = np.linspace(*side, number + 1)
    return (edges[1:] + edges[:-1]) / 2


def _around(kept: npt.NDArray[np.intp], low: float, high: float, number: int) -> tuple[float, float]:
    """The range of the kept cells, of `number` cells in total, with one more cell at each end."""
    edges = np.linspace(low, high, number + 1)
    return float(edges[max(0, kept[0] - 1)]), float(edges[min(number, kept[-1] + 2)])


def _width(side: tuple[float, float]) -> float:
    return side[1] - side[0]


def _log_posterior(hits: Grid, sizes: Grid, numbers: Grid, angles: Grid, roots: Grid) -> Grid:
    """The log-posterior by angle (its squared sine is the rate) and root of the correlation, with maximum 0."""
    correlation = np.maximum(roots**2, _LEAST_CORRELATION)
    total = (1 - correlation) / correlation
    rate = np.sin(angles)[:, None] ** 2
    likelihood: Grid = (
        _log_rising(rate * total, hits, numbers)
        + _log_rising((1 - rate) * total, sizes - hits, numbers)
        - _log_rising(total[None, :], sizes, numbers)
    )
    # On this scale the density of the correlation is twice the root.
    likelihood += np.log(roots)
    likelihood -= likelihood.max()
    return likelihood


def _log_rising(start: Grid, lengths: Grid, numbers: Grid) -> Grid:
    """The sum of log(start * (start + 1) * ... * (start + length - 1)) over lengths, weighted by `numbers`."""
    found: Grid = np.zeros_like(start)
    for step in range(min(_MULTIPLIED, int(lengths.max()))):
        found += numbers[lengths > step].sum() * np.log(start + step)
    long = lengths > _MULTIPLIED
    if not long.any():
        return found
    each, places = np.unique(lengths[long], return_inverse=True)
    many = np.bincount(places, weights=numbers[long])
    for first in range(0, len(each), _AT_ONCE):
        some, number = each[first : first + _AT_ONCE, None, None], many[first : first + _AT_ONCE]
        found += np.tensordot(number, _log_gamma(start + some), axes=1)
    found -= many.sum() * _log_gamma(start + _MULTIPLIED)
    return found


def _log_gamma(x: Grid) -> Grid:
    """Stirling's series, correct to fourteen digits from `_MULTIPLIED` on."""
    squared = x * x
    found: Grid = (x - 0.5) * np.log(x) - x
    found += (1 / 12 - (1 / 360 - 1 / (1260 * squared)) / squared) / x
    return found
