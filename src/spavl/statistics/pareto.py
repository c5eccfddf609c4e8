"""The Pareto front of some alternatives, and how sure it is that each one belongs to it."""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

DRAWS = 1_000
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Costs(NamedTuple):
    """One cost of every alternative: by alternative, by seed, by item. Lower is better."""

    values: Sequence[Sequence[Sequence[float]]]
    # Of each item.
    clusters: Sequence[Hashable]


def dominating(points: Sequence[Sequence[float]], one: int) -> list[int]:
    """The alternatives that are at least as good as this one in every cost, and better in one."""
    own = points[one]
    return [
        place
        for place, other in enumerate(points)
        if all(a <= b for a, b in zip(other, own, strict=True)) and any(a < b for a, b in zip(other, own, strict=True))
    ]


def shares_on_front(costs: Sequence[Costs], seed: int = 1, draws: int = DRAWS) -> list[float]:
    """Of each alternative, the share of resamples of seeds and of clusters of items in which none dominates it.

    All alternatives share the resampled seeds and items, as they share the real ones. One with a single run, such as a
    model before training, keeps it.
    """
    rng = np.random.default_rng(seed)
    seeds = max(len(runs) for each in costs for runs in each.values)
    chosen = rng.multinomial(seeds, [1 / seeds] * seeds, size=draws) / seeds
    clusters = list(dict.fromkeys(cluster for each in costs for cluster in each.clusters))
    weights = rng.multinomial(len(clusters), [1 / len(clusters)] * len(clusters), size=draws).astype(float)
    drawn = np.stack([_resampled_costs(each, chosen, clusters, weights) for each in costs], axis=-1)
    as_good = (drawn[:, :, None, :] <= drawn[:, None, :, :]).all(-1)
    better = (drawn[:, :, None, :] < drawn[:, None, :, :]).any(-1)
    is_dominated = np.any(as_good & better, axis=1)
    return [float(share) for share in 1 - is_dominated.mean(0)]


def _resampled_costs(costs: Costs, chosen: Array, clusters: Sequence[Hashable], weights: Array) -> Array:
    """The cost of each alternative in each resample: draws x alternatives."""
    place = {cluster: number for number, cluster in enumerate(clusters)}
    of_item = weights[:, [place[cluster] for cluster in costs.clusters]]
    total = of_item.sum(1)
    # A resample may hold no item of this cost: then the alternatives are equal in it.
    of_item = of_item / np.where(total, total, 1)[:, None]
    found = []
    for runs in costs.values:
        by_seed = of_item @ np.asarray(runs, float).T
        found.append((by_seed * chosen).sum(1) if len(runs) > 1 else by_seed[:, 0])
    return np.stack(found, axis=1)
