"""The regression is that of statsmodels, with and without its penalty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.discrete.discrete_model import Logit

from spavl.studies.bias.logistic import fit_logistic


def data(seed: int, rows: int = 200, columns: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, columns)).astype(np.float32)
    labels = rng.random(rows) < 1 / (1 + np.exp(-features @ rng.normal(size=columns) / 2))
    return features, labels


@given(st.integers(0, 10**6))
def test_without_a_penalty_it_is_the_maximum_of_the_likelihood(seed: int) -> None:
    features, labels = data(seed)
    theirs = Logit(labels.astype(float), features.astype(float)).fit(disp=0, method="newton", maxiter=100)
    fit = fit_logistic(features, labels, 0.0)
    assert fit.converged
    assert fit.weights == pytest.approx(theirs.params, abs=1e-6)


@given(st.integers(0, 10**6), st.floats(0.1, 30))
def test_with_a_penalty_it_is_the_likelihood_of_statsmodels_at_its_maximum(seed: int, penalty: float) -> None:
    """Their log likelihood gives the slope: at the penalised maximum it equals that of the penalty."""
    features, labels = data(seed)
    fit = fit_logistic(features, labels, penalty)
    slope = Logit(labels.astype(float), features.astype(float)).score(fit.weights)
    assert slope == pytest.approx(penalty * fit.weights, abs=1e-4)


@given(st.integers(0, 10**6), st.integers(0, 2**30))
def test_turning_rows_round_changes_nothing(seed: int, signs: int) -> None:
    features, labels = data(seed, rows=30)
    turned = np.array([signs >> place & 1 for place in range(30)], dtype=bool)
    other = fit_logistic(np.where(turned[:, None], -features, features), labels ^ turned, 1.0)
    assert other.weights == pytest.approx(fit_logistic(features, labels, 1.0).weights, abs=1e-9)


def test_classes_that_can_be_separated_have_finite_weights() -> None:
    features = np.array([[1.0], [2.0], [-1.0], [-3.0]], dtype=np.float32)
    fit = fit_logistic(features, np.array([True, True, False, False]), 1e-6)
    assert fit.converged and np.isfinite(fit.weights).all()
    assert (fit.scores(features) > 0).tolist() == [True, True, False, False]
