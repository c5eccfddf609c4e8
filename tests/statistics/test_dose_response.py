"""Dose-response curves: the forms, their fits beside scipy's and statsmodels', the published curves, and the rules."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.stats import chi2
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from spavl.statistics.dose_response import (
    DoseObservation,
    DoseResponse,
    dose_response,
    dose_table,
    effect_of_doubling,
    pairs_until,
    rates_at,
)
from spavl.statistics.dose_response.fit import fit_curves, saturated_log_likelihood
from spavl.statistics.dose_response.forms import (
    CONSTANT,
    EXPONENTIAL,
    FORMS,
    LOGISTIC,
    POWER,
    Form,
    Grid,
    rates_and_slopes,
    rates_of,
    sizes_until,
)
from spavl.statistics.dose_response.observations import over_dispersion, seed_correlation
from spavl.statistics.dose_response.selection import chi_square_tail, reasons_against_all, reasons_against_form
from tests.support.dose_studies import (
    SIZES,
    TRUE_CONSTANT,
    TRUE_EXPONENTIAL,
    TRUE_LOGISTIC,
    TRUE_POWER,
    DoseStudy,
    size_range,
)

OVER, OVER_TRAINED = size_range(SIZES), size_range(SIZES[1:])
forms = st.sampled_from(FORMS)
shares = st.floats(0, 1)


@st.composite
def curves(draw: Any) -> tuple[Form, Grid]:
    form = draw(forms)
    low, high = form.bounds(OVER)
    places = [draw(shares) for _ in low]
    return form, low + np.array(places) * (high - low)


# --- forms


@given(curves(), st.lists(st.floats(100, 1e7), min_size=2, max_size=5))
def test_a_rate_stays_between_its_levels_and_is_monotone(curve: tuple[Form, Grid], sizes: list[float]) -> None:
    form, parameters = curve
    rates = rates_of(form, parameters[None], np.sort(sizes), OVER)[0]
    assert (rates >= 0).all() and (rates <= 1).all()
    rises = np.diff(rates)
    assert (rises >= -1e-12).all() or (rises <= 1e-12).all()


@given(curves())
def test_the_derivatives_are_those_of_scipys_differences(curve: tuple[Form, Grid]) -> None:
    form, parameters = curve
    # Away from the bounds: rates are cut off at 0 and 1.
    low, high = form.bounds(OVER)
    parameters = np.clip(parameters, low + 0.01, high - 0.01)
    _, slopes = rates_and_slopes(form, parameters[None], OVER.sizes, OVER)
    for place in range(len(SIZES)):
        numeric = approx_fprime(parameters, lambda own: rates_of(form, own[None], OVER.sizes, OVER)[0, place], 1e-7)  # noqa: B023
        assert slopes[0, place] == pytest.approx(numeric, abs=2e-5)


@pytest.mark.parametrize("study", [TRUE_LOGISTIC, TRUE_EXPONENTIAL, TRUE_POWER])
def test_the_size_at_which_a_rate_is_reached_has_this_rate(study: DoseStudy) -> None:
    own, rising = np.array([study.parameters]), np.array([study.parameters])
    rising[:, :2] = 1 - rising[:, :2]
    for rate in (0.05, 0.1, 0.3):
        (size,) = sizes_until(study.form, own, rate, True, OVER)
        assert study.rates([size])[0] == pytest.approx(rate)
        assert sizes_until(study.form, rising, 1 - rate, False, OVER)[0] == pytest.approx(size)
    assert sizes_until(study.form, own, 0.019, True, OVER)[0] == math.inf
    assert sizes_until(study.form, own, 0.5, True, OVER)[0] == 0


# --- fits


def scipys_deviance(form: Form, hits: Grid, items: Grid) -> float:
    over = OVER if len(hits) == len(SIZES) else OVER_TRAINED
    low, high = form.bounds(over)

    def loss(own: Grid) -> float:
        rates = np.clip(rates_of(form, np.clip(own, low, high)[None], over.sizes, over)[0], 1e-10, 1 - 1e-10)
        return float(-(hits * np.log(rates) + (items - hits) * np.log1p(-rates)).sum())

    rng = np.random.default_rng(0)
    starts = [low + rng.random(len(low)) * (high - low) for _ in range(6)]
    options = {"maxiter": 2000, "maxfev": 2000, "xatol": 1e-8, "fatol": 1e-8}
    found = [
        minimize(loss, start, method="Nelder-Mead", bounds=list(zip(low, high, strict=True)), options=options)
        for start in starts
    ]
    return float(2 * (saturated_log_likelihood(hits, items) + min(each.fun for each in found)))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("study", [TRUE_LOGISTIC, TRUE_POWER], ids=lambda study: study.form.name)
def test_no_start_of_scipy_reaches_a_smaller_deviance(form: Form, study: DoseStudy) -> None:
    items = np.full(len(SIZES), 600.0)
    hits = np.random.default_rng(1).binomial(600, study.rates(SIZES)).astype(float)
    ours = float(fit_curves(form, OVER, hits[None], items).deviance[0])
    theirs = scipys_deviance(form, hits, items)
    assert ours <= theirs + 1e-4
    if len(form.shape) < 2:
        assert ours == pytest.approx(theirs, abs=1e-3), "scipy finds it, too"


def test_with_levels_0_and_1_the_logistic_is_statsmodels_logistic_regression_on_log_size() -> None:
    items = np.full(6, 10_000.0)
    rates = 1 / (1 + (np.array(SIZES[1:]) / 4000) ** 0.9)
    hits = np.round(items * rates)
    theirs = GLM(np.c_[hits, items - hits], np.c_[np.ones(6), np.log(SIZES[1:])], family=Binomial()).fit()
    fitted = fit_curves(LOGISTIC, OVER_TRAINED, hits[None], items)
    start, end, middle, slope = fitted.parameters[0]
    assert (start, end) == pytest.approx((1, 0), abs=2e-3)
    assert math.exp(slope) == pytest.approx(-theirs.params[1], rel=0.01)
    assert middle == pytest.approx(theirs.params[0] / -theirs.params[1], rel=0.01)
    assert fitted.deviance[0] <= theirs.deviance + 1e-6


def test_draws_are_fitted_together_as_they_are_alone() -> None:
    items = np.full(len(SIZES), 600.0)
    hits = np.random.default_rng(2).binomial(600, TRUE_LOGISTIC.rates(SIZES), (20, 7)).astype(float)
    for form in FORMS:
        together = fit_curves(form, OVER, hits, items).deviance
        alone = [float(fit_curves(form, OVER, own[None], items).deviance[0]) for own in hits]
        assert together == pytest.approx(alone, abs=1e-4)


@given(st.floats(0, 200), st.integers(1, 12))
def test_the_tail_of_chi_squared_is_scipys(value: float, freedom: int) -> None:
    assert chi_square_tail(value, freedom) == pytest.approx(chi2.sf(value, freedom), rel=1e-9, abs=1e-300)


# --- the curves of the paper (per cent, digitised), with the deviances that another fit gave

PUBLISHED = {
    "MM-SafetyBench": ((19.9, 18.75, 4.5, 2.53, 0.6, 1.49), 672, 76.6, 4.3),
    "AdvBench": ((98, 91.5, 10, 0.6, 0, 0), 520, 998.6, 2.9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_curves_are_logistic_in_log_n_and_no_power_law(name: str) -> None:
    rates, items, power, logistic = PUBLISHED[name]
    observations = [
        DoseObservation(size, 0, f"{size}/{item}", f"{size}/{item}", item < round(rate / 100 * items))
        for size, rate in zip((100, 1_000, 5_000, 10_000, 30_000, 90_000), rates, strict=True)
        for item in range(items)
    ]
    found = dose_response(observations, draws=200)
    fits = {fit.form: fit for fit in found.forms}
    assert fits["power"].deviance == pytest.approx(power, abs=0.1) and fits["power"].freedom == 3
    assert fits["logistic"].deviance == pytest.approx(logistic, abs=0.1) and fits["logistic"].freedom == 2
    assert found.forms[0].form == "logistic" and fits["power"].weight < 1e-6 < fits["logistic"].weight
    until = pairs_until(found, 0.1)
    assert until.status == "reached" and 1_000 < until.pairs.low < until.pairs.high < 5_500
    assert effect_of_doubling(found).worth_it == "no"
    assert any("one seed" in note for note in found.notes)


# --- what is said, and what is not


def curve(study: DoseStudy, seed: int = 0, draws: int = 200) -> DoseResponse:
    return dose_response(study.draw(np.random.default_rng(seed)), draws)


def test_three_sizes_identify_nothing() -> None:
    found = curve(TRUE_LOGISTIC._replace(sizes=(0, 1_000, 10_000)))
    assert found.form is None and "3 distinct sizes" in found.why_not[0]
    assert found.as_json()["form"] == found.form_words == "not identified"
    assert pairs_until(found, 0.2).status == "not identified"
    assert effect_of_doubling(found).worth_it == "not identified"


def test_a_constant_rate_identifies_no_form() -> None:
    for seed in range(3):
        found = curve(TRUE_CONSTANT, seed)
        assert found.form is None
        assert pairs_until(found, 0.1).status != "reached"
        assert effect_of_doubling(found).worth_it != "yes"


def test_rates_that_no_form_fits_identify_nothing() -> None:
    items = range(300)
    rates = (0.4, 0.1, 0.4, 0.1, 0.4, 0.1, 0.4)
    rows = [
        DoseObservation(size, 0, str(k), k, k % 10 < 10 * rate)
        for size, rate in zip(SIZES, rates, strict=True)
        for k in items
    ]
    found = dose_response(rows, draws=100)
    assert found.form is None and "no form fits" in found.why_not[0]
    assert pairs_until(found, 0.2).status == effect_of_doubling(found).worth_it == "not identified"


def test_the_best_form_identifies_nothing_if_it_does_not_fit() -> None:
    """By AIC a form may be the best that does not fit, before one that just fits with fewer parameters."""
    response = curve(TRUE_LOGISTIC)
    assert response.form == "logistic"
    misfit = response.forms[0]._replace(p=0.001)
    rival = response.forms[1]._replace(p=0.5)
    assert reasons_against_all((misfit, rival), response.table.over) == []
    assert any("does not fit" in why for why in reasons_against_form((misfit, rival), (), response.table.over))
    answer = effect_of_doubling(response._replace(forms=(misfit, rival)))
    assert answer.worth_it == "not identified" and "does not fit" in answer.why
    assert pairs_until(response._replace(forms=(misfit, rival)), 0.2).status == "not identified"


def test_more_data_is_worth_it_while_the_rate_still_falls() -> None:
    short = TRUE_EXPONENTIAL._replace(sizes=(0, 100, 300, 1_000, 2_000, 3_000))
    answer = effect_of_doubling(curve(short))
    assert answer.worth_it == "yes" and answer.change.high < 0
    assert effect_of_doubling(curve(short), lower_is_better=False).worth_it == "no"
    assert effect_of_doubling(curve(TRUE_EXPONENTIAL)).worth_it == "no"


def test_a_rate_below_the_floor_is_not_reached_and_one_of_the_base_model_needs_no_pairs() -> None:
    found = curve(TRUE_LOGISTIC._replace(parameters=(0.44, 0.15, *TRUE_LOGISTIC.parameters[2:])))
    assert pairs_until(found, 0.05).status == "not reached"
    assert pairs_until(found, 0.6).pairs.value == 0
    assert pairs_until(found, 0.3).status == "reached"


def test_hits_and_misses_exchanged_mirror_the_curve() -> None:
    rows = TRUE_LOGISTIC.draw(np.random.default_rng(4))
    found, mirrored = (dose_response(own, 200) for own in (rows, [row._replace(event=not row.event) for row in rows]))
    for fit, other in zip(found.forms, mirrored.forms, strict=True):
        assert (fit.form, fit.deviance) == (other.form, pytest.approx(other.deviance, abs=1e-4))
    one, other = pairs_until(found, 0.2).pairs, pairs_until(mirrored, 0.8, lower_is_better=False).pairs
    assert one.value == pytest.approx(other.value, rel=1e-3)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=0.15)


def test_the_order_of_verdicts_changes_nothing() -> None:
    rows = TRUE_LOGISTIC.draw(np.random.default_rng(5))
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    assert dose_response(rows, 100).as_json() == dose_response(shuffled, 100).as_json()


def test_every_interval_contains_its_value_and_the_groups_count_every_verdict() -> None:
    rows = TRUE_LOGISTIC.draw(np.random.default_rng(6))
    found = dose_response(rows, 200)
    everything = [*found.rates.values(), *found.parameters.values(), *rates_at(found, (0, 50, 1e4, 1e6))]
    assert all(each.low <= each.value <= each.high for each in everything)
    assert sum(group.items for group in found.groups) == len(rows)
    assert sum(group.hits for group in found.groups) == sum(row.event for row in rows)


def test_a_table_of_counts_is_that_of_its_verdicts() -> None:
    study = TRUE_LOGISTIC._replace(items_of_cluster=3, item_correlation=0.3, seed_correlation=0.02)
    counts, verdicts = study.table(np.random.default_rng(3)), dose_table(study.draw(np.random.default_rng(3)))
    assert counts.groups == verdicts.groups and 2 < counts.freedom < 12
    components = [(table.between, table.within, table.freedom) for table in (counts, verdicts)]
    assert components[0] == pytest.approx(components[1])
    assert sorted(counts.hits.tolist()) == sorted(verdicts.hits.tolist())


def test_seeds_that_differ_widen_every_answer() -> None:
    alike = curve(TRUE_LOGISTIC, 7)
    apart = curve(TRUE_LOGISTIC._replace(seed_correlation=0.05), 7)
    assert alike.seed_correlation < 0.01 < apart.seed_correlation
    assert alike.over_dispersion < 1.5 < apart.over_dispersion

    def width(found: DoseResponse) -> float:
        return sum(rate.high - rate.low for size, rate in found.rates.items() if size)

    assert width(apart) > 1.5 * width(alike)


def test_seed_correlation_and_over_dispersion_are_what_was_simulated() -> None:
    rng, n = np.random.default_rng(8), 60
    study = TRUE_LOGISTIC._replace(seed_correlation=0.02)
    tables = [study.table(rng) for _ in range(n)]
    found = [table.between - table.within for table in tables]
    assert np.mean(found) == pytest.approx(0.02, abs=3 * np.std(found) / math.sqrt(n))
    assert all(seed_correlation(table) >= 0 and over_dispersion(table) >= 1 for table in tables)


def test_the_same_items_answered_alike_by_every_seed_are_not_counted_thrice() -> None:
    once = TRUE_LOGISTIC._replace(seeds=1).draw(np.random.default_rng(9))
    thrice = [row._replace(seed=seed) for row in once for seed in range(3)]
    one, three = dose_response(once, 400), dose_response(thrice, 400)
    assert three.over_dispersion == pytest.approx(3 * one.over_dispersion, rel=0.15)
    for size, rate in one.rates.items():
        assert three.rates[size].high - three.rates[size].low == pytest.approx(rate.high - rate.low, rel=0.15)


@pytest.mark.parametrize("sizes", [(), (0,), (500,), (-1, 500)])
def test_what_is_no_study_is_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="needs two sizes"):
        dose_response(DoseObservation(size, 0, "a", "a", True) for size in sizes)


@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("clusters", [1, 200])
def test_verdicts_that_are_all_alike_say_nothing_of_a_form(rate: float, clusters: int) -> None:
    rows = [
        DoseObservation(size, seed, str(item), item % clusters, rate == 1)
        for size in SIZES
        for seed in range(3)
        for item in range(200)
    ]
    found = dose_response(rows, 200)
    assert found.form is None
    assert all(0 <= each.low <= each.value == rate <= each.high <= 1 for each in found.rates.values())
    assert all(each.high - each.low > 0.0005 for each in found.rates.values()), "an interval at 0 or 1 has a width"
    assert effect_of_doubling(found).worth_it != "yes"


def test_names_of_forms_and_their_parameters_are_fixed() -> None:
    assert [form.name for form in FORMS] == ["constant", "exponential", "power", "logistic"]
    assert POWER.parameters(OVER) == ("start", "end", "exponent", "base")
    assert POWER.parameters(OVER_TRAINED) == ("start", "end", "exponent")
    assert CONSTANT.parameters(OVER) == ("level",) and EXPONENTIAL.parameters(OVER) == ("start", "end", "scale")
