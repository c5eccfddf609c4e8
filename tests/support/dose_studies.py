"""Verdicts of a study of data sizes, drawn from a known curve: for tests of dose-response curves."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from spavl.statistics.dose_response import DoseObservation, DoseTable
from spavl.statistics.dose_response.forms import CONSTANT, EXPONENTIAL, LOGISTIC, POWER, Form, Grid, SizeRange, rates_of
from spavl.statistics.dose_response.observations import table_of_counts

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

    def table(self, rng: np.random.Generator) -> DoseTable:
        clusters, models, events = self._events(rng)
        hits = np.add.reduceat(events, np.arange(0, self.items, self.items_of_cluster), axis=1).T.astype(float)
        items = np.bincount(clusters).astype(float)
        return table_of_counts(models, hits, np.repeat(items[:, None], len(models), axis=1))

    def draw(self, rng: np.random.Generator) -> list[DoseObservation]:
        clusters, models, events = self._events(rng)
        return [
            DoseObservation(size, seed, str(item), int(clusters[item]), event)
            for (size, seed), own in zip(models, events.tolist(), strict=True)
            for item, event in enumerate(own)
        ]

    def _events(self, rng: np.random.Generator) -> tuple[Any, list[tuple[int, int]], Any]:
        """The cluster of each item, the models, and the verdict on each model's answer to each item."""
        clusters = np.arange(self.items) // self.items_of_cluster
        models = [(size, seed) for size in self.sizes for seed in range(self.seeds if size else 1)]
        trained = np.array([size > 0 for size, _ in models])
        rates = self.rates([size for size, _ in models])
        if self.seed_correlation:
            total = 1 / self.seed_correlation - 1
            rates = np.where(trained, rng.beta(rates * total, (1 - rates) * total), rates)
        alone, shared = rng.normal(size=(len(models), self.items)), rng.normal(size=clusters.max() + 1)[clusters]
        hidden = np.sqrt(self.item_correlation) * shared + np.sqrt(1 - self.item_correlation) * alone
        return clusters, models, hidden < ndtri(rates)[:, None]


TRUE_LOGISTIC = DoseStudy(LOGISTIC, (0.44, 0.02, float(np.log(3000)), float(np.log(1.5))))
TRUE_EXPONENTIAL = DoseStudy(EXPONENTIAL, (0.44, 0.02, float(np.log(3000))))
TRUE_POWER = DoseStudy(POWER, (0.4, 0.02, float(np.log(0.4)), 0.44))
TRUE_CONSTANT = DoseStudy(CONSTANT, (0.3,))
