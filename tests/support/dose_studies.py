"""Verdicts of a study of data sizes, drawn from a known curve: for tests of dose-response curves."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from spavl.statistics.dose_response import DoseObservation
from spavl.statistics.dose_response.forms import CONSTANT, EXPONENTIAL, LOGISTIC, POWER, Form, Grid, SizeRange, rates_of

SIZES = (0, 100, 1_000, 5_000, 10_000, 30_000, 90_000)


def size_range(sizes: Sequence[int]) -> SizeRange:
    return SizeRange(np.array(sizes, dtype=float), min(size for size in sizes if size), max(sizes))


class DoseStudy(NamedTuple):
    """A true curve, and how it is observed: verdicts on the same items of several models of each size."""

    form: Form
    parameters: tuple[float, ...]
    """As the fit has them: those of the shape are logarithms."""
    sizes: tuple[int, ...] = SIZES
    seeds: int = 3
    items: int = 200
    seed_correlation: float = 0.0
    """Of two answers of one training run, beyond that of their items."""
    item_correlation: float = 0.0
    """Of the normal variables that decide two models' verdicts on one item."""
    items_of_cluster: int = 1

    def rates(self, sizes: Sequence[float]) -> Grid:
        own = np.array([self.parameters])
        return rates_of(self.form, own, np.array(sizes, dtype=float), size_range(self.sizes))[0]

    def draw(self, rng: np.random.Generator) -> list[DoseObservation]:
        clusters = np.arange(self.items) // self.items_of_cluster
        shared = rng.normal(size=clusters.max() + 1)[clusters]
        found = []
        for size, rate in zip(self.sizes, self.rates(self.sizes), strict=True):
            for seed in range(self.seeds if size else 1):
                own = rate
                if self.seed_correlation and size:
                    total = 1 / self.seed_correlation - 1
                    own = rng.beta(rate * total, (1 - rate) * total)
                alone = rng.normal(size=self.items)
                hidden = np.sqrt(self.item_correlation) * shared + np.sqrt(1 - self.item_correlation) * alone
                events = (hidden < ndtri(own)).tolist()
                found += [
                    DoseObservation(size, seed, str(item), int(clusters[item]), event)
                    for item, event in enumerate(events)
                ]
        return found


TRUE_LOGISTIC = DoseStudy(LOGISTIC, (0.44, 0.02, float(np.log(3000)), float(np.log(1.5))))
TRUE_EXPONENTIAL = DoseStudy(EXPONENTIAL, (0.44, 0.02, float(np.log(3000))))
TRUE_POWER = DoseStudy(POWER, (0.4, 0.02, float(np.log(0.4)), 0.44))
TRUE_CONSTANT = DoseStudy(CONSTANT, (0.3,))
