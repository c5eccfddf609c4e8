"""Maximum likelihood of a form, for many data sets at once.

At fixed shape a form is linear in its two levels, so a weighted least-squares fit of the levels at every shape of a
grid gives starts near every maximum. From the best of them Fisher scoring with Levenberg's damping climbs inside the
bounds. All data sets (the observed one, or every draw of a bootstrap) climb together.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.statistics.dose_response.forms import Form, Grid, SizeRange, rates_and_slopes, rates_of

_STEPS = 200
# The gain in log-likelihood below which a fit has converged.
_GAIN = 1e-8
# A probability of exactly 0 or 1 makes the curvature infinite.
_LEAST = 1e-10
_STUCK = 1e10


class CurveFit(NamedTuple):
    """The maximum-likelihood parameters of each data set, with those of the shape as logarithms, and the deviances."""

    parameters: Grid
    deviance: Grid


def fit_curves(
    form: Form, over: SizeRange, hits: Grid, totals: Grid, *, tried: int = 2, start: Grid | None = None
) -> CurveFit:
    """Fit every row of `hits` (data sets, sizes), each from its `tried` best starts, and from `start` if given."""
    starts = _starts(form, over, hits, totals)
    gains = _log_likelihood(
        rates_of(form, starts.reshape(-1, starts.shape[2]), over.sizes, over).reshape(*starts.shape[:2], -1),
        hits[:, None, :],
        totals,
    )
    best = np.argsort(-gains, axis=1, kind="stable")[:, :tried]
    chosen = np.take_along_axis(starts, best[:, :, None], axis=1)
    if start is not None:
        chosen = np.concatenate([np.broadcast_to(start, (len(hits), 1, len(start))), chosen], axis=1)
    number, width = chosen.shape[1:]
    rows = np.repeat(hits, number, axis=0)
    parameters, reached = _climb(form, over, rows, totals, chosen.reshape(-1, width))
    shaped = reached.reshape(len(hits), number)
    best = shaped.argmax(axis=1)
    parameters = parameters.reshape(len(hits), number, width)[np.arange(len(hits)), best]
    return CurveFit(parameters, 2 * (saturated_log_likelihood(hits, totals) - shaped.max(axis=1)))


def saturated_log_likelihood(hits: Grid, totals: Grid) -> Grid:
    """The log-likelihood of the observed rates themselves, without the binomial coefficients."""
    return _log_likelihood(hits / totals, hits, totals)


def _log_likelihood(rates: Grid, hits: Grid, totals: Grid) -> Grid:
    safe = np.clip(rates, _LEAST, 1 - _LEAST)
    found: Grid = (hits * np.log(safe) + (totals - hits) * np.log1p(-safe)).sum(axis=-1)
    return found


def _starts(form: Form, over: SizeRange, hits: Grid, totals: Grid) -> Grid:
    """Parameters at every shape of the grid, (data sets, shapes, parameters)."""
    rates = hits / totals
    if not form.shape:
        return np.asarray(hits.sum(axis=1) / totals.sum())[:, None, None]
    shapes = np.array(list(product(*(each.start_logs(over) for each in form.shape))))
    share = form.remaining(over.sizes, shapes, over.first)[0]
    # Inverse variances of rates that are smoothed, so that a rate of 0 has a finite weight.
    smooth = (hits + 0.5) / (totals + 1)
    weights = totals / (smooth * (1 - smooth))
    separate = form.own_zero and over.has_zero
    if separate:
        weights = weights * (over.sizes > 0)
    levels = _levels(share, rates, weights)
    places = np.broadcast_to(shapes, (len(hits), *shapes.shape))
    columns = [np.clip(levels, 1e-3, 1 - 1e-3), places]
    if separate:
        columns.append(np.broadcast_to(rates[:, None, :1], (*places.shape[:2], 1)))
    return np.concatenate(columns, axis=2)


def _levels(share: Grid, rates: Grid, weights: Grid) -> Grid:
    """The weighted least-squares start and end level, (data sets, shapes, 2)."""
    other = 1 - share
    a, b, c = weights @ (share * share).T, weights @ (share * other).T, weights @ (other * other).T
    u, v = (weights * rates) @ share.T, (weights * rates) @ other.T
    size = np.maximum(a * c - b * b, 1e-12 * (a * c + 1e-300))
    return np.stack([(c * u - b * v) / size, (a * v - b * u) / size], axis=2)


def _climb(form: Form, over: SizeRange, hits: Grid, totals: Grid, start: Grid) -> tuple[Grid, Grid]:
    low, high = form.bounds(over)
    parameters = np.clip(start, low, high)
    rates, slopes = rates_and_slopes(form, parameters, over.sizes, over)
    value = _log_likelihood(rates, hits, totals)
    damping = np.full(len(hits), 1e-3)
    active = np.arange(len(hits))
    for _ in range(_STEPS):
        if not len(active):
            break
        here = parameters[active]
        rates, slopes = rates_and_slopes(form, here, over.sizes, over)
        step = _step(rates, slopes, hits[active], totals, damping[active], (here - low, high - here))
        trial = np.clip(here + step, low, high)
        reached = _log_likelihood(rates_of(form, trial, over.sizes, over), hits[active], totals)
        gain = reached - value[active]
        better = gain > 0
        parameters[active[better]], value[active[better]] = trial[better], reached[better]
        damping[active] = np.where(better, damping[active] / 9, damping[active] * 5)
        settled = (better & (gain < _GAIN)) | (damping[active] > _STUCK) | (np.abs(step).max(axis=1) < 1e-12)
        active = active[~settled]
    return parameters, value


def _step(rates: Grid, slopes: Grid, hits: Grid, totals: Grid, damping: Grid, room: tuple[Grid, Grid]) -> Grid:
    """A damped scoring step. A parameter at a bound that the gradient would leave stays where it is."""
    safe = np.clip(rates, _LEAST, 1 - _LEAST)
    weights = totals / (safe * (1 - safe))
    gradient = np.einsum("rd,rdk->rk", weights * (hits / totals - safe), slopes)
    information = np.einsum("rd,rdk,rdl->rkl", weights, slopes, slopes)
    fixed = ((room[0] <= 0) & (gradient < 0)) | ((room[1] <= 0) & (gradient > 0))
    gradient = np.where(fixed, 0.0, gradient)
    information = np.where(fixed[:, :, None] | fixed[:, None, :], 0.0, information)
    diagonal = np.einsum("rkk->rk", information)
    added = np.where(fixed | (diagonal <= 0), 1.0, diagonal * damping[:, None] + 1e-9)
    information = information + added[:, :, None] * np.eye(slopes.shape[2])
    solved: npt.NDArray[np.float64] = np.linalg.solve(information, gradient[:, :, None])[:, :, 0]
    return solved
