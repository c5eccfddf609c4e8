"""Our statistics beside those of scipy, of statsmodels and of published examples: where they have the same, it is."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint, proportion_effectsize

from spavl.statistics import (
    Confusion,
    Estimate,
    averages,
    clopper_pearson,
    confusion,
    corrected_rate,
    detectable_change,
    difference,
    gwet_ac1,
    holm,
    kappa,
    krippendorff_alpha,
    length_controlled,
    mcnemar,
    mean_by_cluster,
    rank_correlation,
    rate_by_cluster,
    ratio_of_sums,
    sign_test,
    wilson,
    wilson_with_unknown,
)
from spavl.statistics.laws import beta_cdf, binomial_cdf, t_cdf, t_quantile

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(st.floats(0, 1), st.floats(0.5, 5000), st.floats(0.5, 5000))
def test_the_beta_law_is_scipys(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(special.betainc(a, b, x), abs=1e-10)


@given(counts, st.floats(0.001, 0.999))
def test_the_binomial_law_is_scipys(counts: tuple[int, int], rate: float) -> None:
    assert binomial_cdf(*counts, rate) == pytest.approx(stats.binom.cdf(*counts, rate), abs=1e-10)


@given(st.floats(-30, 30), st.integers(1, 500))
def test_students_law_is_scipys(x: float, freedom: int) -> None:
    # With one degree of freedom scipy rounds what is within 1e-9 of the middle to it.
    assert t_cdf(x, freedom) == pytest.approx(stats.t.cdf(x, freedom), abs=1e-9)
    assert t_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@given(counts)
def test_clopper_pearson_and_wilson_are_statsmodels(counts: tuple[int, int]) -> None:
    found = clopper_pearson(*counts)
    assert (found.low, found.high) == pytest.approx(proportion_confint(*counts, method="beta"), abs=1e-10)
    usual = wilson(*counts)
    assert (usual.low, usual.high) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-10)
    assert found.low <= found.value <= found.high


@given(counts, counts)
def test_the_difference_of_two_rates_is_statsmodels(one: tuple[int, int], other: tuple[int, int]) -> None:
    found = difference(wilson(*one), wilson(*other))
    theirs = confint_proportions_2indep(*one, *other, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(theirs, abs=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_and_the_sign_test_are_theirs(one: int, other: int) -> None:
    assert mcnemar(one, other) == pytest.approx(their_mcnemar([[5, one], [other, 5]]).pvalue, abs=1e-10)
    if one + other:
        assert sign_test(one, other) == pytest.approx(stats.binomtest(one, one + other).pvalue, abs=1e-10)


def test_mcnemar_of_many_items_is_quick_and_right() -> None:
    assert mcnemar(49_500, 50_500) == pytest.approx(stats.binomtest(49_500, 100_000).pvalue, rel=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_statsmodels(ps: list[float]) -> None:
    with mock.patch("gc.collect"):  # statsmodels collects garbage on every call, which takes a second
        theirs = list(multipletests(ps, method="holm")[1])
    assert holm(ps) == pytest.approx(theirs, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30).filter(lambda xs: max(xs) - min(xs) > 1e-3))
def test_a_ratio_over_ones_has_the_interval_of_scipys_t_test(xs: list[float]) -> None:
    found = ratio_of_sums(xs, [1.0] * len(xs), range(len(xs)))
    theirs = stats.ttest_1samp(xs, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-8)


@given(st.floats(0.02, 0.98), st.integers(50, 3000), st.integers(50, 3000), st.sampled_from([0.5, 0.8, 0.9]))
def test_the_detectable_change_has_just_the_power_that_statsmodels_gives_it(
    rate: float, before: int, after: int, power: float
) -> None:
    found = detectable_change(rate, before, after, power)
    for changed in (rate - (found.fall or math.nan), rate + (found.rise or math.nan)):
        if not math.isnan(changed):
            effect = abs(proportion_effectsize(changed, rate))
            theirs = NormalIndPower().power(effect, before, 0.05, ratio=after / before)
            assert theirs == pytest.approx(power, abs=1e-4)


def test_a_change_that_no_rate_could_make_is_not_detectable() -> None:
    assert detectable_change(0.01, 100, 100).fall is None
    assert detectable_change(0.99, 100, 100).rise is None


@given(st.lists(st.integers(0, 20), min_size=4, max_size=40).filter(lambda xs: len(set(xs)) > 1), st.randoms())
def test_the_rank_correlation_is_scipys(xs: list[int], rng: object) -> None:
    ys = xs[::-1]
    assert rank_correlation(xs, ys).value == pytest.approx(stats.spearmanr(xs, ys).statistic)


@given(st.lists(st.integers(0, 30), min_size=4, max_size=4).filter(lambda table: sum(table) > 3))
def test_kappa_is_statsmodels(table: list[int]) -> None:
    pairs = [(place // 2, place % 2) for place, number in enumerate(table) for _ in range(number)]
    found = kappa(pairs, range(len(pairs)))
    with np.errstate(all="ignore"):
        theirs = cohens_kappa(np.reshape(table, (2, 2)), return_results=False)
    assert found.value == pytest.approx(theirs, nan_ok=True)


# Krippendorff's own example of four observers, and Gwet's: 12 units, 5 labels, with gaps.
EXAMPLE = list(
    zip(
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
        strict=True,
    )
)


def test_alpha_and_ac1_of_the_published_example() -> None:
    alpha = krippendorff_alpha(EXAMPLE, range(12))
    assert (alpha.value, alpha.n) == (pytest.approx(0.743, abs=5e-4), 11)
    assert -1 < alpha.low < 0.743 < alpha.high <= 1
    ac1 = gwet_ac1(EXAMPLE, range(1, 6), range(12))
    assert ac1.value == pytest.approx(0.77544, abs=5e-6)
    assert ac1.low < 0.775 < ac1.high


def test_where_nearly_everything_has_one_label_kappa_falls_and_ac1_does_not() -> None:
    """The paradox for which AC1 is shown: of 100 items 90 alike, all but none of them yes."""
    pairs = [("yes", "yes")] * 90 + [("yes", "no")] * 5 + [("no", "yes")] * 5
    assert kappa(pairs, range(100)).value < 0
    assert gwet_ac1(pairs, ("yes", "no"), range(100)).value > 0.85


rated = st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=3, max_size=3), min_size=1, max_size=20)


@given(rated)
@settings(max_examples=60)
def test_agreement_has_an_interval_about_its_value_or_says_that_it_cannot_tell(units: list[list[str | None]]) -> None:
    for found in (krippendorff_alpha(units, range(len(units))), gwet_ac1(units, "abc", range(len(units)))):
        assert -1 <= found.low <= found.high <= 1
        assert math.isnan(found.value) or found.low - 1e-9 <= found.value <= found.high + 1e-9
        assert found.low < found.high


def test_raters_who_always_agree_have_alpha_1_and_yet_an_interval() -> None:
    units = [("a", "a"), ("b", "b")] * 20
    found = krippendorff_alpha(units, range(40))
    assert found.value == found.high == 1
    assert 0.7 < found.low < 1


def test_a_label_that_was_not_to_be_given_is_an_error() -> None:
    with pytest.raises(ValueError, match="not among the labels"):
        gwet_ac1([("a", "x")], ("a", "b"), [0])


def test_the_bootstrap_is_scipys_but_for_students_widening() -> None:
    """Of 200 clusters that widening is 0.9 %."""
    rng = np.random.default_rng(3)
    values = (rng.random(200) < 0.07).astype(float)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    ours = mean_by_cluster(values.tolist(), range(200), draws=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.0051), "one hit of 200 is 0.005"


@given(st.permutations(list(range(12))))
@settings(max_examples=10)
def test_the_order_of_items_changes_no_interval(order: list[int]) -> None:
    values, clusters = [float(i % 3 == 0) for i in range(12)], [i // 2 for i in range(12)]
    mixed = mean_by_cluster([values[i] for i in order], [clusters[i] for i in order], 100)
    assert mixed == mean_by_cluster(values, clusters, 100)


# --- length


def test_the_length_controlled_win_rate_is_the_logistic_curve_of_statsmodels() -> None:
    rng = np.random.default_rng(5)
    longer = rng.normal(20, 60, 300)
    outcomes = np.clip(np.round(2 / (1 + np.exp(-longer / 60 - 0.4 + rng.normal(0, 1, 300)))) / 2, 0, 1)
    squashed = np.tanh(longer / math.sqrt((longer**2).mean()))
    design = np.column_stack([np.ones(300), squashed])
    clusters = np.arange(300) // 3
    theirs = GLM(outcomes, design, Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    found = length_controlled(outcomes.tolist(), longer.tolist(), clusters.tolist())
    level, error = theirs.params[0], theirs.bse[0] * math.sqrt(100 / 99)
    few = stats.t.ppf(0.975, 99)
    curve = [1 / (1 + math.exp(-(level + reach * error))) for reach in (0, -few, few)]
    assert (found.value, found.low, found.high) == pytest.approx(curve, abs=1e-6)


def test_a_win_rate_that_is_all_length_vanishes_when_it_is_controlled() -> None:
    rng = np.random.default_rng(6)
    longer = rng.normal(1, 1, 500)
    won = (rng.random(500) < 1 / (1 + np.exp(-3 * np.tanh(longer / 1.41)))).astype(float)
    found = length_controlled(won.tolist(), longer.tolist(), range(500))
    assert won.mean() > 0.7
    assert found.low < 0.5 < found.high


def test_where_length_decides_everything_nothing_is_said_of_equal_length() -> None:
    found = length_controlled([1.0, 1.0, 0.0, 0.0], [5, 9, -4, -7], range(4))
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0, 1)


def test_one_who_wins_all_wins_all_at_any_length() -> None:
    found = length_controlled([1.0] * 30, list(range(30)), range(30))
    assert found == mean_by_cluster([1.0] * 30, range(30))


# --- errors of judges


def test_a_perfect_judge_needs_no_correction() -> None:
    raw = wilson(81, 265)
    found = corrected_rate(raw, Confusion(both=10_000, said_only=0, true_only=0, neither=10_000))
    assert found.corrected is not None
    assert found.corrected == pytest.approx(raw, abs=2e-3)


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4), counts.filter(lambda counts: 0 < counts[0] < counts[1]))
def test_the_corrected_rate_of_the_opposite_is_the_opposite(table: list[int], counts: tuple[int, int]) -> None:
    both, said_only, true_only, neither = table
    hits, n = counts
    one = corrected_rate(wilson(hits, n), Confusion(both, said_only, true_only, neither)).corrected
    other = corrected_rate(wilson(n - hits, n), Confusion(neither, true_only, said_only, both)).corrected
    assert (one is None) == (other is None)
    if one and other:
        mirrored = (1 - other.value, 1 - other.high, 1 - other.low)
        assert (one.value, one.low, one.high) == pytest.approx(mirrored, abs=1e-9)


def test_rogan_and_gladen_by_hand() -> None:
    """0.3 = 0.9 t + 0.2 (1 - t), so t = 1 / 7."""
    found = corrected_rate(wilson(300, 1000), Confusion(both=90, said_only=20, true_only=10, neither=80))
    assert found.corrected is not None
    assert found.corrected.value == pytest.approx(1 / 7)
    assert found.corrected.high - found.corrected.low > found.raw.high - found.raw.low
    assert (found.sensitivity, found.specificity) == (wilson(90, 100), wilson(80, 100))


def test_a_rate_that_is_less_sure_is_less_sure_when_corrected() -> None:
    """Of 4 answers each about 100 images, or with 60 that could not be judged."""
    judge = Confusion(both=45, said_only=5, true_only=5, neither=45)
    hits = [cluster % 3 == 0 for cluster in range(100) for _ in range(4)]
    sure = corrected_rate(rate_by_cluster(hits, range(400)), judge).corrected
    tied = corrected_rate(rate_by_cluster(hits, [item // 4 for item in range(400)]), judge).corrected
    gaps = corrected_rate(wilson_with_unknown(136, 264, 60), judge).corrected
    alone = corrected_rate(rate_by_cluster(hits[::4], range(100)), judge).corrected
    assert sure and tied and gaps and alone
    assert tied.value == gaps.value == sure.value == alone.value
    assert tied.high - tied.low == pytest.approx(alone.high - alone.low, rel=0.02)
    assert gaps.high - gaps.low > 1.15 * (sure.high - sure.low)


@pytest.mark.parametrize(
    ("judge", "why"),
    [
        (Confusion(50, 50, 50, 50), "sum to 1.00, and may sum to 0.86: those of a coin sum to 1.00"),
        (Confusion(20, 60, 80, 40), "sum to 0.60"),
        (Confusion(2, 20, 0, 30), "sum to 1.60, and may sum to 0.93"),
        (Confusion(0, 3, 0, 30), "no truly positive answer"),
        (Confusion(30, 0, 3, 0), "no truly negative answer"),
    ],
)
def test_a_correction_that_is_impossible_says_why_and_is_not_made(judge: Confusion, why: str) -> None:
    found = corrected_rate(wilson(10, 100), judge)
    assert found.corrected is None
    assert why in found.why_not


@given(st.lists(st.integers(0, 40), min_size=4, max_size=4), counts)
def test_a_corrected_rate_is_a_rate(table: list[int], counts: tuple[int, int]) -> None:
    found = corrected_rate(wilson(*counts), Confusion(*table))
    assert (found.corrected is None) == bool(found.why_not)
    if isinstance(found.corrected, Estimate):
        assert 0 <= found.corrected.low <= found.corrected.value <= found.corrected.high <= 1


def test_what_could_not_be_judged_is_in_no_cell() -> None:
    pairs = [(True, True), (None, True), (False, None), (True, False), (False, True), (False, False), (None, None)]
    assert confusion(pairs) == Confusion(1, 1, 1, 1, unknown=3)


# --- micro and macro


def test_micro_counts_items_and_macro_counts_groups() -> None:
    values, groups = [1.0, 1, 1, 1, 1, 1, 1, 1, 0, 0], ["big"] * 8 + ["small"] * 2
    found = averages(values, groups, range(10))
    assert (found.micro.value, found.macro.value) == (0.8, 0.5)
    assert found.macro.low < 0.5 < found.macro.high


def test_groups_of_none_have_an_interval_that_knows_how_small_they_are() -> None:
    """265 safe answers of 53 leaves: alone each leaf may hide more than all do together."""
    even = averages([0.0] * 265, [item // 5 for item in range(265)], range(265)).macro
    assert even.high == pytest.approx(wilson(0, 265).high)
    uneven = averages([0.0] * 265, ["small"] * 5 + ["big"] * 260, range(265)).macro
    assert uneven.high > 5 * even.high
