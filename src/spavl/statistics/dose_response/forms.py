"""Forms of a rate as a function of the number of pairs: each falls or rises from one level to another.

Every form is `end + (start - end) * remaining(size)`, with both levels between 0 and 1. `remaining` is 1 at the start
and falls to 0, so a rate never leaves [0, 1], and at fixed shape the likelihood has one maximum.

A size of 0 (the base model) needs no offset in a logarithm: the logistic in log n is `1 / (1 + (n / middle) **
slope)`, which is 1 at n = 0, and so is the exponential. The power law has no value at 0. There the rate of the base
model is a parameter of its own: an offset such as `n + 1` would make the law claim half of its range for the first
few pairs.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float64]


class SizeRange(NamedTuple):
    """The sizes of a study as the forms need them."""

    sizes: Grid
    """Distinct sizes, in increasing order."""
    first: float
    """The smallest size above 0."""
    last: float

    @property
    def has_zero(self) -> bool:
        return bool(self.sizes[0] == 0)


class ShapeParameter(NamedTuple):
    """A parameter of a form's shape. It is fitted as a logarithm."""

    name: str
    low: float
    high: float
    starts: tuple[float, ...]
    scaled: bool
    """Whether it is a number of pairs: `low` and `high` are then multiples of the first and of the last size, and
    `starts` are shares of the way from the first to the last on a logarithmic scale."""

    def bounds(self, over: SizeRange) -> tuple[float, float]:
        """The bounds of the logarithm."""
        first, last = (over.first, over.last) if self.scaled else (1.0, 1.0)
        return float(np.log(self.low * first)), float(np.log(self.high * last))

    def start_logs(self, over: SizeRange) -> Grid:
        if not self.scaled:
            return np.asarray(np.log(np.array(self.starts)))
        return np.asarray(np.log(over.first) + np.array(self.starts) * np.log(over.last / over.first))


# What remains at each size, (rows, sizes), and its derivatives by the logarithms of the parameters.
Shape = Callable[[Grid, Grid, float], tuple[Grid, Grid]]
# The size at which a share of the way remains: (shares, parameters, first) -> sizes.
Inverse = Callable[[Grid, Grid, float], Grid]


class Form(NamedTuple):
    """A form of the curve."""

    name: str
    formula: str
    shape: tuple[ShapeParameter, ...]
    remaining: Shape
    size_at: Inverse
    own_zero: bool = False
    """Whether the rate at size 0 is a parameter of its own."""

    def parameters(self, over: SizeRange) -> tuple[str, ...]:
        if not self.shape:
            return ("level",)
        zero = ("base",) if self.own_zero and over.has_zero else ()
        return ("start", "end", *(each.name for each in self.shape), *zero)

    def bounds(self, over: SizeRange) -> tuple[Grid, Grid]:
        """The least and the greatest value of each parameter, logarithms of those of the shape."""
        names = self.parameters(over)
        low, high = np.zeros(len(names)), np.ones(len(names))
        for place, each in enumerate(self.shape, start=2):
            low[place], high[place] = each.bounds(over)
        return low, high


def rates_of(form: Form, parameters: Grid, sizes: Grid, over: SizeRange) -> Grid:
    """The rate at each size, one row for each row of parameters."""
    return rates_and_slopes(form, parameters, sizes, over)[0]


def rates_and_slopes(form: Form, parameters: Grid, sizes: Grid, over: SizeRange) -> tuple[Grid, Grid]:
    """The rates, and their derivatives by each parameter."""
    slopes = np.zeros((len(parameters), len(sizes), parameters.shape[1]))
    if not form.shape:
        slopes[:] = 1.0
        return np.repeat(parameters[:, :1], len(sizes), axis=1), slopes
    start, end = parameters[:, :1], parameters[:, 1:2]
    last = 2 + len(form.shape)
    share, by_shape = form.remaining(sizes, parameters[:, 2:last], over.first)
    rates = end + (start - end) * share
    slopes[:, :, 0], slopes[:, :, 1] = share, 1 - share
    slopes[:, :, 2:last] = (start - end)[:, :, None] * by_shape
    zero = sizes == 0
    if form.own_zero and over.has_zero and zero.any():
        rates[:, zero] = parameters[:, -1:]
        slopes[:, zero, :] = 0.0
        slopes[:, zero, -1] = 1.0
    # Below the first size a power law may exceed 1; no observed size is there.
    return np.clip(rates, 0.0, 1.0), slopes


def sizes_until(form: Form, parameters: Grid, rate: float, falling: bool, over: SizeRange) -> Grid:
    """The smallest size from which on the rate is at most `rate` (at least, if it is to rise); infinite if never."""
    side = 1.0 if falling else -1.0
    base = rates_of(form, parameters, np.zeros(1), over)[:, 0] if over.has_zero else np.full(len(parameters), np.nan)
    if not form.shape:
        return np.where(side * (parameters[:, 0] - rate) <= 0, 0.0, np.inf)
    start, end = parameters[:, 0], parameters[:, 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = (rate - end) / (start - end)
        sizes = form.size_at(share, parameters[:, 2 : 2 + len(form.shape)], over.first)
    begins = side * (start - rate) <= 0
    if form.own_zero:
        # There `start` is the rate at the first size, and the law may reach this rate before it.
        begins &= side * (start - end) <= 0
    sizes = np.where(side * (end - rate) < 0, sizes, np.inf)
    return np.where(begins | (side * (base - rate) <= 0), 0.0, sizes)


def _no_shape(sizes: Grid, shape: Grid, first: float) -> tuple[Grid, Grid]:
    return np.ones((len(shape), len(sizes))), np.zeros((len(shape), len(sizes), 0))


def _never(shares: Grid, shape: Grid, first: float) -> Grid:
    return np.full(shares.shape, np.inf)


def _exponential(sizes: Grid, shape: Grid, first: float) -> tuple[Grid, Grid]:
    spent = sizes * np.exp(-shape[:, :1])
    share = np.exp(-spent)
    return share, (spent * share)[:, :, None]


def _exponential_size(shares: Grid, shape: Grid, first: float) -> Grid:
    return np.asarray(-np.exp(shape[:, 0]) * np.log(shares))


def _power(sizes: Grid, shape: Grid, first: float) -> tuple[Grid, Grid]:
    exponent, logs = np.exp(shape[:, :1]), np.log(np.maximum(sizes, 1e-3) / first)
    share = np.exp(np.minimum(-exponent * logs, 50.0))
    return share, (-exponent * logs * share)[:, :, None]


def _power_size(shares: Grid, shape: Grid, first: float) -> Grid:
    return np.asarray(first * np.exp(-np.log(shares) / np.exp(shape[:, 0])))


def _logistic(sizes: Grid, shape: Grid, first: float) -> tuple[Grid, Grid]:
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(sizes), -50.0) - shape[:, :1]
    slope = np.exp(shape[:, 1:])
    turned = np.clip(slope * logs, -60.0, 60.0)
    share = 1 / (1 + np.exp(turned))
    bend = share * (1 - share)
    share = np.where(sizes == 0, 1.0, share)
    bend = np.where(sizes == 0, 0.0, bend)
    return share, np.stack([bend * slope, -bend * turned], axis=2)


def _logistic_size(shares: Grid, shape: Grid, first: float) -> Grid:
    return np.asarray(np.exp(shape[:, 0] + np.log(1 / shares - 1) / np.exp(shape[:, 1])))


_FRACTIONS = tuple(place / 12 for place in range(13))
CONSTANT = Form("constant", "level", (), _no_shape, _never)
EXPONENTIAL = Form(
    "exponential",
    "end + (start - end) * exp(-n / scale)",
    (ShapeParameter("scale", 0.1, 10.0, _FRACTIONS, scaled=True),),
    _exponential,
    _exponential_size,
)
POWER = Form(
    "power",
    "end + (start - end) * (n / n1) ** -exponent",
    (ShapeParameter("exponent", 0.02, 10.0, (0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 4.0), scaled=False),),
    _power,
    _power_size,
    own_zero=True,
)
LOGISTIC = Form(
    "logistic",
    "end + (start - end) / (1 + (n / middle) ** slope)",
    (
        ShapeParameter("middle", 0.1, 10.0, _FRACTIONS, scaled=True),
        ShapeParameter("slope", 0.2, 15.0, (0.5, 1.0, 2.0, 4.0, 8.0), scaled=False),
    ),
    _logistic,
    _logistic_size,
)
FORMS = (CONSTANT, EXPONENTIAL, POWER, LOGISTIC)
