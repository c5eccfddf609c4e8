"""Logistic regression with an L2 penalty, fitted exactly by Newton's method with numpy alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]

_STEPS = 100
_CONVERGED = 1e-12
# The rows whose curvature is summed at once, which bounds the memory.
_AT_ONCE = 4096


class LogisticFit(NamedTuple):
    weights: Vector
    # Whether Newton's method converged; without a penalty it does not if the classes can be separated.
    converged: bool

    def scores(self, features: Matrix) -> Vector:
        """The log-odds of the rows."""
        return np.asarray(features.astype(np.float64) @ self.weights)


def fit_logistic(features: Matrix, labels: NDArray[np.bool_], penalty: float) -> LogisticFit:
    """The weights that minimise the summed log loss plus penalty / 2 times their squared length.

    There is no intercept. For differences of two answers that is the point: swapping the answers and the label of any
    row changes nothing. Centre the features where an intercept is meant.
    """
    # Words that no answer has get no weight; leaving them out is exact and saves most of the time.
    used: NDArray[np.bool_] = np.any(features, axis=0)
    fit = _newton(features[:, used], np.where(labels, 1.0, -1.0), penalty)
    weights = np.zeros(len(used))
    weights[used] = fit.weights
    return fit._replace(weights=weights)


def _newton(features: Matrix, signs: Vector, penalty: float) -> LogisticFit:
    weights = np.zeros(features.shape[1])
    loss = _loss(features, signs, weights, penalty)
    for _ in range(_STEPS):
        slope, curvature = _derivatives(features, signs, weights, penalty)
        step = np.linalg.lstsq(curvature, slope)[0] if penalty == 0 else np.linalg.solve(curvature, slope)
        fall = float(slope @ step)
        if fall <= _CONVERGED * (1 + loss):
            return LogisticFit(weights - step, True)
        share = 1.0
        while (lower := _loss(features, signs, weights - share * step, penalty)) > loss - 1e-4 * share * fall:
            share /= 2
            if share < 1e-8:
                return LogisticFit(weights, True)
        weights, loss = weights - share * step, lower
    return LogisticFit(weights, False)


def _loss(features: Matrix, signs: Vector, weights: Vector, penalty: float) -> float:
    margins = signs * (features @ weights)
    return float(np.logaddexp(0.0, -margins).sum() + penalty / 2 * weights @ weights)


def _derivatives(features: Matrix, signs: Vector, weights: Vector, penalty: float) -> tuple[Vector, Vector]:
    """The gradient of the loss, and its matrix of second derivatives."""
    slope, curvature = penalty * weights, penalty * np.eye(len(weights))
    for start in range(0, len(signs), _AT_ONCE):
        rows = features[start : start + _AT_ONCE].astype(np.float64)
        own = signs[start : start + _AT_ONCE]
        wrong = 1 / (1 + np.exp(np.clip(own * (rows @ weights), -500, 500)))
        slope = slope - rows.T @ (own * wrong)
        curvature = curvature + (rows * (wrong * (1 - wrong))[:, None]).T @ rows
    return slope, curvature
