"""Verdicts of models that were trained on different numbers of pairs, as a table by size."""

import math
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from spavl.statistics.dose_response.forms import Grid, SizeRange


class DoseObservation(NamedTuple):
    """The verdict on one item's answer by a model of this training size and seed."""

    size: int
    """The number of pairs trained on; 0 for the base model."""
    seed: int
    item: str
    cluster: Hashable
    """Items of a cluster, such as questions about one image, are not independent."""
    event: bool


class DoseGroup(NamedTuple):
    """The counts of one model: a size and a seed."""

    size: int
    seed: int
    hits: int
    items: int


class DoseTable(NamedTuple):
    """Counts by size and cluster, and how far models of one size differ by seed."""

    over: SizeRange
    groups: tuple[DoseGroup, ...]
    hits: Grid
    """Hits of each cluster (rows) at each size (columns), summed over seeds."""
    items: Grid
    """Items judged, likewise."""
    seeds: Grid
    """The number of seeds at each size."""
    between: float
    """The mean square between seeds of one size, over rate * (1 - rate)."""
    within: float
    """The part of `between` that the choice of items explains."""
    freedom: float
    """The degrees of freedom of `between`: fewer than the seeds above one, since sizes have unequal variances."""

    @property
    def total_hits(self) -> Grid:
        return np.asarray(self.hits.sum(axis=0))

    @property
    def total_items(self) -> Grid:
        return np.asarray(self.items.sum(axis=0))


def dose_table(observations: Iterable[DoseObservation]) -> DoseTable:
    """The table of these verdicts. The base model is not trained: its seeds are repetitions, not training runs."""
    rows = list(observations)
    models = sorted({(row.size, row.seed) for row in rows})
    clusters = {name: place for place, name in enumerate(sorted({row.cluster for row in rows}, key=repr))}
    places = {model: place for place, model in enumerate(models)}
    hits, items = np.zeros((2, len(clusters), len(models)))
    at = np.array([(clusters[row.cluster], places[row.size, row.seed]) for row in rows]).T
    np.add.at(hits, tuple(at), np.array([row.event for row in rows], dtype=float))
    np.add.at(items, tuple(at), 1.0)
    return table_of_counts(models, hits, items)


def table_of_counts(models: Sequence[tuple[int, int]], hits: Grid, items: Grid) -> DoseTable:
    """The table of these models (size and seed), from their hits and items (columns) in each cluster (rows)."""
    sizes = sorted({size for size, _ in models})
    if len(sizes) < 2 or sizes[0] < 0:
        said = f"{sizes[0]:,} pairs only" if len(sizes) == 1 else ", ".join(map(str, sizes)) or "none"
        raise ValueError(f"a dose-response curve needs two sizes, of which the base model's 0 may be one; got: {said}")
    of_size = np.array([[model[0] == size for size in sizes] for model in models], dtype=float)
    between, within, freedom = _seed_components(hits, items, of_size, np.array(sizes))
    groups = tuple(
        DoseGroup(*model, hits=round(hits[:, place].sum()), items=round(items[:, place].sum()))
        for place, model in enumerate(models)
    )
    return DoseTable(
        over=SizeRange(np.array(sizes, dtype=float), min(size for size in sizes if size > 0), max(sizes)),
        groups=groups,
        hits=hits @ of_size,
        items=items @ of_size,
        seeds=of_size.sum(axis=0),
        between=between,
        within=within,
        freedom=freedom,
    )


def _seed_components(hits: Grid, items: Grid, of_size: Grid, sizes: Grid) -> tuple[float, float, float]:
    """Two mean squares of models' rates around their size's rate, over all sizes: the observed, the sampling part.

    Models of a size answer the same items. So the sampling part is the variance of what is left of each cluster's hits
    after the model's rate and the cluster's rate over all seeds are taken out. The third number is the degrees of
    freedom of the first.
    """
    observed = sampling = scale = squares = 0.0
    for place in np.nonzero((sizes > 0) & (of_size.sum(axis=0) > 1))[0]:
        own = of_size[:, place] > 0
        seeds, clusters = int(own.sum()), len(hits)
        rate = hits[:, own].sum() / items[:, own].sum()
        rates = hits[:, own].sum(axis=0) / items[:, own].sum(axis=0)
        observed += float(((rates - rate) ** 2).sum())
        rest = (hits[:, own] - rates * items[:, own]) / items[:, own].sum(axis=0)
        rest = rest - rest.mean(axis=1, keepdims=True)
        sampling += float((rest**2).sum()) * clusters / max(clusters - 1, 1)
        scale += rate * (1 - rate) * (seeds - 1)
        squares += (rate * (1 - rate)) ** 2 * (seeds - 1)
    if scale <= 0:
        return 0.0, 0.0, 0.0
    # Satterthwaite: a sum of mean squares with unequal variances varies more than its seeds suggest.
    return observed / scale, sampling / scale, scale**2 / squares


def size_covariance(table: DoseTable) -> Grid:
    """The covariance of the rates at all sizes: of the choice of items (cluster-robust) and of the training seeds."""
    rates = table.total_hits / table.total_items
    pulls = (table.hits - rates * table.items) / table.total_items
    clusters = len(pulls)
    covariance = pulls.T @ pulls * (clusters / max(clusters - 1, 1))
    smooth = (table.total_hits + 0.5) / (table.total_items + 1)
    by_seed = seed_correlation(table) * smooth * (1 - smooth) / table.seeds * (table.over.sizes > 0)
    return np.asarray(covariance + np.diag(by_seed))


def seed_correlation(table: DoseTable) -> float:
    """The correlation of two answers of one training run beyond that of their items: 0 if seeds make no difference."""
    return min(max(0.0, table.between - table.within), 0.99)


def item_design_effect(table: DoseTable) -> float:
    """How many verdicts carry as much information as an independent one, as clusters and repeated items allow."""
    rates = (table.total_hits + 0.5) / (table.total_items + 1)
    pulls = (table.hits - rates * table.items) / table.total_items
    clusters = len(pulls)
    observed = float((pulls**2).sum()) * clusters / max(clusters - 1, 1)
    binomial = float((rates * (1 - rates) / table.total_items).sum())
    return max(1.0, observed / binomial) if math.isfinite(observed) else 1.0


def over_dispersion(table: DoseTable) -> float:
    """The factor by which rates of different sizes differ more than independent verdicts would; at least 1.

    It is the first-order correction of Rao and Scott (1984) for differences between sizes: what all sizes share because
    they answer the same items changes no difference, and is not counted.
    """
    rates = (table.total_hits + 0.5) / (table.total_items + 1)
    weights = table.total_items / (rates * (1 - rates))
    covariance = size_covariance(table)
    if len(weights) < 2:
        return 1.0
    shared = float(weights @ covariance @ weights / weights.sum())
    return max(1.0, (float(weights @ np.diag(covariance)) - shared) / (len(weights) - 1))
