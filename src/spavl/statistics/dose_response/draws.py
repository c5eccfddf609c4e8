"""A bootstrap over items and seeds: draws of the rates at all sizes.

Items are shared by all sizes and seeds, so a draw gives every cluster of items one weight for the whole table
(Rubin's Bayesian bootstrap: weights are exponential). Each size gets a pseudo-hit and a pseudo-miss as well:
resampling alone never draws a hit where none was seen, and an interval at a rate of 0 would have no width.

Three seeds are too few to be resampled: their spread would come out a third too small, and the sampling error of the
items would be counted twice. So the variance between seeds is split into the part of the items and the rest, pooled
over sizes; a draw takes a variance that the observed one allows (chi-squared), and moves each trained size's rate by
a beta variate.
"""

import numpy as np

from spavl.statistics.dose_response.forms import Grid
from spavl.statistics.dose_response.observations import DoseTable, item_design_effect

# Pseudo-hits of all sizes together: half of one for each of the four parameters of the longest form, as Jeffreys' prior
# has for a rate.
_PSEUDO_HITS = 2.0
_MOST_CORRELATION = 0.99


def rate_draws(table: DoseTable, draws: int, seed: int) -> Grid:
    """Rates at all sizes, one row for each draw. The same table and seed give the same draws."""
    rng = np.random.default_rng(seed)
    pseudo = min(0.5, _PSEUDO_HITS / len(table.over.sizes))
    mass = item_design_effect(table)
    weights = rng.standard_exponential((draws, len(table.hits)))
    added_hits, added_misses = rng.standard_gamma(pseudo, (2, draws, len(table.over.sizes))) * mass
    hits, items = weights @ table.hits + added_hits, weights @ table.items + added_hits + added_misses
    return _move_by_seed(hits / items, table, rng)


def _move_by_seed(rates: Grid, table: DoseTable, rng: np.random.Generator) -> Grid:
    if not table.freedom or table.between <= 0:
        return rates
    drawn = table.between * table.freedom / rng.chisquare(table.freedom, len(rates))
    correlation = np.clip(drawn - table.within, 0.0, _MOST_CORRELATION)
    moved = (correlation[:, None] > 0) & (table.over.sizes > 0)
    shared = correlation[:, None] / table.seeds
    # A beta variate of this total has the variance rate * (1 - rate) * shared.
    total = 1 / np.where(moved, shared, 0.5) - 1
    safe = np.clip(rates, 1e-9, 1 - 1e-9)
    return np.where(moved, rng.beta(safe * total, (1 - safe) * total), rates)
