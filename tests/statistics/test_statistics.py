"""Statistics against known values, against brute force, and by the properties they must have."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.statistics import (
    flip_test,
    kappa,
    mcnemar,
    mean_by_cluster,
    rank_correlation,
    rate_by_cluster,
    rate_of_samples,
    ratio_of_sums,
    wilson,
    wilson_with_unknown,
)

_COUNTS = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # The last four are Newcombe's (1998), who gives four digits.
    [
        (0, 265, 0.0, 0.0143),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits, n) == pytest.approx((hits / n, n, low, high), abs=5e-5)


@given(_COUNTS)
def test_wilsons_ends_are_the_rates_that_are_just_not_rejected(counts: tuple[int, int]) -> None:
    value, n, *ends = wilson(*counts)
    for end in ends:
        assert abs(value - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), abs=1e-6)


@given(_COUNTS)
def test_wilson_contains_the_rate_and_lies_within_0_and_1(counts: tuple[int, int]) -> None:
    value, n, low, high = wilson(*counts)
    assert (value, n) == (counts[0] / counts[1], counts[1])
    assert 0 <= low <= value <= high <= 1
    assert low < high


@given(_COUNTS)
def test_wilson_treats_hits_and_misses_alike(counts: tuple[int, int]) -> None:
    hits, n = counts
    one, other = wilson(hits, n), wilson(n - hits, n)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-12)


@given(_COUNTS)
def test_more_of_the_same_makes_wilson_narrower(counts: tuple[int, int]) -> None:
    hits, n = counts
    one, twice = wilson(hits, n), wilson(2 * hits, 2 * n)
    assert twice.high - twice.low < one.high - one.low


def test_nothing_seen_is_nothing_known() -> None:
    for value, n, low, high in (wilson(0, 0), mean_by_cluster([], [])):
        assert math.isnan(value)
        assert (n, low, high) == (0, 0.0, 1.0)


@pytest.mark.parametrize(("hits", "n"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="hits of"):
        wilson(hits, n)


def _mcnemar_by_hand(before_only: int, after_only: int) -> float:
    """The share of all ways to toss the discordant items that are at least as lopsided as the one seen."""
    n, gap = before_only + after_only, abs(before_only - after_only)
    tosses = itertools.product((1, -1), repeat=n)
    return sum(abs(sum(toss)) >= gap for toss in tosses) / 2.0**n


@pytest.mark.parametrize(("before_only", "after_only"), [(b, a) for b in range(7) for a in range(7)])
def test_mcnemar_equals_counting_all_cases(before_only: int, after_only: int) -> None:
    assert mcnemar(before_only, after_only) == pytest.approx(_mcnemar_by_hand(before_only, after_only), abs=1e-12)


@given(st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=50)
def test_mcnemar_is_a_p_value_and_does_not_mind_the_order(before_only: int, after_only: int) -> None:
    p = mcnemar(before_only, after_only)
    assert 0 <= p <= 1
    assert p == mcnemar(after_only, before_only)


def test_the_cluster_interval_is_wider_than_wilsons_where_clusters_agree() -> None:
    verdicts = [float(cluster % 3 == 0) for cluster in range(60) for _ in range(8)]
    clusters = [cluster for cluster in range(60) for _ in range(8)]
    value, n, low, high = mean_by_cluster(verdicts, clusters)
    naive = wilson(int(sum(verdicts)), n)
    assert value == pytest.approx(naive.value)
    assert high - low > 2 * (naive.high - naive.low)
    # As wide as if each cluster had been asked once.
    alone = wilson(20, 60)
    assert high - low == pytest.approx(alone.high - alone.low, rel=0.15)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8)), min_size=1, max_size=40))
@settings(max_examples=25)
def test_the_cluster_interval_is_the_same_each_time_and_stays_among_the_cluster_means(
    items: list[tuple[float, int]],
) -> None:
    values, clusters = [value for value, _ in items], [cluster for _, cluster in items]
    found = mean_by_cluster(values, clusters, draws=200)
    assert found == mean_by_cluster(values, clusters, draws=200)
    assert found.n == len(values)
    groups = [[v for v, c in items if c == cluster] for cluster in set(clusters)]
    means = [sum(group) / len(group) for group in groups]
    if max(means) - min(means) > 1e-9:
        assert min(means) - 1e-9 <= found.low <= found.high <= max(means) + 1e-9


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 3)), min_size=1, max_size=12))
def test_an_interval_is_never_a_point_however_much_the_clusters_agree(items: list[tuple[float, int]]) -> None:
    value, _, low, high = mean_by_cluster([share for share, _ in items], [cluster for _, cluster in items], draws=200)
    assert 0 <= low <= value <= high <= 1
    assert low < high


def test_a_rate_that_all_clusters_share_rests_on_their_number_alone() -> None:
    value, n, low, high = mean_by_cluster([0.0] * 80, [item % 20 for item in range(80)])
    assert (value, n, low, high) == (0.0, 80, 0.0, wilson(0, 20).high)


def test_every_value_needs_its_cluster() -> None:
    with pytest.raises(ValueError, match="shorter"):
        mean_by_cluster([1.0, 0.0], ["a"])


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 20))
def test_the_interval_reaches_over_whatever_the_unreadable_ones_were(hits: int, misses: int, unknown: int) -> None:
    value, n, low, high = wilson_with_unknown(hits, misses, unknown)
    assert n == hits + misses
    for turned_out in range(unknown + 1):
        if hits + misses + unknown:
            truth = (hits + turned_out) / (hits + misses + unknown)
            assert low <= truth <= high
    assert n == 0 or low <= value <= high


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 8)), max_size=24))
def test_the_flip_test_of_wins_is_all_ways_to_choose_the_signs(rows: list[tuple[float, int]]) -> None:
    sums = [sum(share - 0.5 for share, own in rows if own == cluster) for cluster in {own for _, own in rows}]
    seen = abs(sum(sums)) - 1e-9
    ways = list(itertools.product((1, -1), repeat=len(sums)))
    p = sum(abs(sum(sign * gap for sign, gap in zip(way, sums, strict=True))) >= seen for way in ways) / len(ways)
    shares = [share for share, _ in rows]
    assert flip_test(shares, [0.5] * len(rows), [own for _, own in rows]) == pytest.approx(p)


# --- rates of items that hang together


@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_items_that_stand_alone_have_the_interval_of_their_number(hits: list[bool]) -> None:
    """Save for the k / (k - 1) of an honest variance, which can only widen it."""
    found, usual = rate_by_cluster(hits, range(len(hits))), wilson(sum(hits), len(hits))
    assert found[:2] == usual[:2]
    assert found.low <= usual.low + 1e-12 and found.high >= usual.high - 1e-12
    assert found.high - found.low <= 1.5 * (usual.high - usual.low)


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(2, 5))
def test_saying_everything_several_times_makes_nothing_surer(hits: list[bool], times: int) -> None:
    once = rate_by_cluster(hits, range(len(hits)))
    again = rate_by_cluster(hits * times, list(range(len(hits))) * times)
    assert again.value == pytest.approx(once.value)
    assert again.low <= once.low + 1e-9 and again.high >= once.high - 1e-9
    assert again.n == times * once.n


def test_the_interval_holds_where_items_of_a_cluster_agree() -> None:
    """Of 300 samples of 60 images with 4 questions each, whose answers mostly agree, 95 % should hold the truth."""
    rng, holds = random.Random(1), 0
    for _ in range(300):
        hits: list[bool] = []
        for _ in range(60):
            usual = rng.random() < 0.3
            hits += [usual if rng.random() < 0.8 else rng.random() < 0.3 for _ in range(4)]
        found = rate_by_cluster(hits, [item // 4 for item in range(len(hits))])
        holds += found.low <= 0.3 <= found.high
    assert holds / 300 > 0.91


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0, None]), min_size=3, max_size=3), min_size=1, max_size=12))
def test_the_interval_reaches_over_every_sample_that_could_not_be_read(samples: list[list[float | None]]) -> None:
    found = rate_of_samples(samples, range(len(samples)))
    assert found.n == sum(any(value is not None for value in own) for own in samples)
    for other in (0.0, 1.0):
        filled = [other if value is None else value for own in samples for value in own]
        assert found.low - 1e-9 <= sum(filled) / len(filled) <= found.high + 1e-9


def test_a_ratio_of_sums_is_known_by_hand_and_has_no_end_where_the_bottom_may_be_nothing() -> None:
    tops, bottoms = [1.0, 2.0, 4.0, 5.0], [2.0, 5.0, 7.0, 10.0]
    found = ratio_of_sums(tops, bottoms, range(4))
    assert found.value == 0.5 and found.low < 0.5 < found.high
    for end in (found.low, found.high):
        # Just there the difference from zero is what Student's t of 3 lets pass: 3.182.
        apart = [top - end * bottom for top, bottom in zip(tops, bottoms, strict=True)]
        middle = sum(apart) / 4
        error = math.sqrt(sum((each - middle) ** 2 for each in apart) / 3 / 4)
        assert abs(middle) / error == pytest.approx(3.18245, rel=1e-4)
    unsure = ratio_of_sums([1.0, 1.0], [3.0, -2.0], range(2))
    assert (unsure.low, unsure.high) == (-math.inf, math.inf)
    assert math.isnan(ratio_of_sums([1.0], [-1.0], [0]).value) and ratio_of_sums([], [], []).n == 0


# --- agreement


def said(table: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    return [pair for pair, number in table.items() for _ in range(number)]


def test_kappa_of_a_table_worked_by_hand() -> None:
    """20, 5, 10, 15 of 50: they agree on 35; chance agrees on 1/2 * 3/5 + 1/2 * 2/5; (0.7 - 0.5) / 0.5 = 0.4."""
    pairs = said({("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15})
    found = kappa(pairs, range(50))
    assert (found.value, found.n) == (pytest.approx(0.4), 50)
    # Fleiss, Cohen and Everitt's large-sample error of this table is 0.1270; Student's t of 49 reaches 2.01 of them.
    assert (found.high - found.low) / 2 == pytest.approx(2.01 * 0.1270, rel=0.06)


labelled = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40)


@given(labelled)
def test_kappa_treats_both_judges_alike_and_stays_within_its_bounds(pairs: list[tuple[str, str]]) -> None:
    found = kappa(pairs, range(len(pairs)))
    swapped = kappa([(other, one) for one, other in pairs], range(len(pairs)))
    assert found == pytest.approx(swapped, nan_ok=True)
    assert -1 <= found.low <= found.high <= 1
    if math.isfinite(found.value):
        assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    else:
        assert len({label for pair in pairs for label in pair}) == 1, "only where there is nothing to disagree on"


@given(st.lists(st.sampled_from("ab"), min_size=2, max_size=40).filter(lambda labels: len(set(labels)) == 2))
def test_judges_that_always_agree_have_kappa_1_and_yet_an_interval(labels: list[str]) -> None:
    found = kappa([(label, label) for label in labels], range(len(labels)))
    assert found.value == found.high == 1
    assert found.low < 1


def test_kappas_interval_holds() -> None:
    """Two judges who each copy the truth three times of four and else say anything: kappa is 9/16."""
    rng, holds = random.Random(2), 0
    for _ in range(300):
        pairs = []
        for _ in range(150):
            truth = rng.choice("ab")
            one, other = (truth if rng.random() < 0.75 else rng.choice("ab") for _ in range(2))
            pairs.append((one, other))
        found = kappa(pairs, range(150))
        holds += found.low <= 9 / 16 <= found.high
    assert holds / 300 > 0.91


# --- correlation


@given(st.lists(st.integers(-50, 50), min_size=4, max_size=30, unique=True))
def test_ranks_alone_decide_the_correlation(values: list[int]) -> None:
    assert rank_correlation(values, [3 * value + 7 for value in values]).value == pytest.approx(1)
    assert rank_correlation(values, [-(value**3) for value in values]).value == pytest.approx(-1)
    assert math.isnan(rank_correlation(values, [1.0] * len(values)).value)


@pytest.mark.parametrize("n", [4, 5, 30])
def test_a_perfect_order_of_a_few_is_not_known_to_be_perfect(n: int) -> None:
    up, down = rank_correlation(range(n), range(n)), rank_correlation(range(n), range(n)[::-1])
    assert up.value == up.high == 1 and up.low < (0 if n < 6 else 1)
    assert (down.low, down.high) == pytest.approx((-1, -up.low))


def test_the_correlation_of_a_known_example() -> None:
    """Ranks 1 to 5 against 2, 1, 4, 3, 5: the squared differences sum to 4, so 1 - 6 * 4 / (5 * 24) = 0.8."""
    found = rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert found.value == pytest.approx(0.8)
    assert -1 < found.low < 0.8 < found.high < 1
