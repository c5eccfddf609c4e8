"""Every interval and every test on logs drawn from a known truth: they hold what they promise.

An interval promises to hold the truth in 95 of 100 logs. Of 2,000 logs drawn here the share that it holds
may fall short by chance alone, by 0.5 % as a standard error, so three of these are allowed: 93.5 %. A test
promises to find a difference where there is none in at most 5 of 100 logs; at most 6.5 % are allowed here,
and none at all where the chance is counted out instead of drawn.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pytest

from spavl.evaluation.benchmarks.ability.formulas import above_chance, yes_no
from spavl.statistics import (
    Confusion,
    Estimate,
    averages,
    clopper_pearson,
    corrected_rate,
    detectable_difference,
    difference,
    flip_test,
    gwet_ac1,
    holm,
    kappa,
    krippendorff_alpha,
    length_controlled,
    mcnemar,
    mcnemar_power,
    mean_by_cluster,
    paired_difference,
    rank_correlation,
    rate_by_cluster,
    rate_of_samples,
    sign_test,
    wilson,
    wilson_with_unknown,
)

LOGS = 2000
HELD = 0.95 - 3 * math.sqrt(0.95 * 0.05 / LOGS)
FOUND = 0.05 + 3 * math.sqrt(0.95 * 0.05 / LOGS)
# As many draws as do for a test; in use there are 2,000, which only take chance out of the ends.
DRAWS = 300

Log = TypeVar("Log", bound=Hashable)
Rng = np.random.Generator


def share(draw: Callable[[Rng], Log], holds: Callable[[Log], bool]) -> float:
    """The share of logs of which this holds. Equal logs are looked at once."""
    rng, seen, total = np.random.default_rng(1), dict[Log, bool](), 0
    for _ in range(LOGS):
        log = draw(rng)
        if log not in seen:
            seen[log] = holds(log)
        total += seen[log]
    return total / LOGS


def covers(draw: Callable[[Rng], Log], estimate: Callable[[Log], Estimate], truth: float) -> float:
    def holds(log: Log) -> bool:
        found = estimate(log)
        return found.low - 1e-12 <= truth <= found.high + 1e-12

    return share(draw, holds)


def ones(hits: int, n: int) -> list[float]:
    return [1.0] * hits + [0.0] * (n - hits)


RATES = [(20, 0.3), (50, 0.05), (265, 0.0), (265, 0.01), (265, 0.05), (265, 0.44), (1680, 0.002), (1680, 0.2)]


@pytest.mark.parametrize(("n", "rate"), RATES)
@pytest.mark.parametrize("kind", [wilson, clopper_pearson])
def test_a_rates_interval_covers(kind: Callable[[int, int], Estimate], n: int, rate: float) -> None:
    assert covers(lambda rng: int(rng.binomial(n, rate)), lambda hits: kind(hits, n), rate) >= HELD


def test_clopper_pearson_holds_whatever_the_truth_and_wilson_on_the_average() -> None:
    """Counted out, not drawn. Wilson falls short just below the lower end of a single hit, and nowhere as far."""
    n, truths = 50, [i / 400 for i in range(401)]
    kept: dict[str, list[float]] = {"exact": [], "wilson": []}
    for name, kind in (("exact", clopper_pearson), ("wilson", wilson)):
        ends = [kind(hits, n) for hits in range(n + 1)]
        for truth in truths:
            chances = [math.comb(n, hits) * truth**hits * (1 - truth) ** (n - hits) for hits in range(n + 1)]
            held = (end.low <= truth <= end.high for end in ends)
            kept[name].append(sum(chance for chance, holds in zip(chances, held, strict=True) if holds))
    assert min(kept["exact"]) >= 0.95 - 1e-9
    assert sum(kept["wilson"]) / len(truths) == pytest.approx(0.953, abs=0.002)
    assert min(kept["wilson"]) > 0.83


def test_an_interval_over_answers_not_judged_covers_whichever_they_were() -> None:
    def draw(rng: Rng) -> tuple[int, int, int]:
        """The unsafe are three times as often not judged: a rate of those judged alone is wrong."""
        unsafe = int(rng.binomial(200, 0.2))
        lost_unsafe, lost_safe = int(rng.binomial(unsafe, 0.15)), int(rng.binomial(200 - unsafe, 0.05))
        return unsafe - lost_unsafe, 200 - unsafe - lost_safe, lost_unsafe + lost_safe

    assert covers(draw, lambda log: wilson_with_unknown(*log), 0.2) >= HELD


@pytest.mark.parametrize(("n", "rate"), [(40, 0.05), (40, 0.3), (265, 0.005), (265, 0.0132), (265, 0.05)])
def test_the_bootstraps_interval_covers_rare_events_too(n: int, rate: float) -> None:
    """A plain bootstrap holds 3.5 of 265 in 89 of 100 logs only, since from one hit it never draws four."""
    estimate = lambda hits: mean_by_cluster(ones(hits, n), range(n), DRAWS)  # noqa: E731
    assert covers(lambda rng: int(rng.binomial(n, rate)), estimate, rate) >= HELD


def together(rng: Rng, clusters: int, rate: float) -> tuple[int, ...]:
    """How many of the 3 items of each cluster are hits, where most do as their cluster does."""
    usual = rng.random(clusters)[:, None] < rate
    alike, alone = rng.random((clusters, 3)) < 0.7, rng.random((clusters, 3)) < rate
    return tuple(sorted(np.where(alike, usual, alone).sum(1).tolist()))


def items(log: tuple[int, ...]) -> tuple[list[float], list[int]]:
    return [float(j < hits) for hits in log for j in range(3)], [c for c in range(len(log)) for _ in range(3)]


@pytest.mark.parametrize(("clusters", "rate"), [(30, 0.3), (60, 0.02)])
def test_the_bootstrap_covers_where_items_hang_together(clusters: int, rate: float) -> None:
    estimate = lambda log: mean_by_cluster(*items(log), DRAWS)  # noqa: E731
    assert covers(lambda rng: together(rng, clusters, rate), estimate, rate) >= HELD


@pytest.mark.parametrize(("clusters", "rate"), [(30, 0.3), pytest.param(400, 0.1, marks=pytest.mark.slow)])
def test_the_fast_interval_covers_where_items_hang_together(clusters: int, rate: float) -> None:
    def estimate(log: tuple[int, ...]) -> Estimate:
        values, named = items(log)
        return rate_by_cluster([value > 0 for value in values], named)

    assert covers(lambda rng: together(rng, clusters, rate), estimate, rate) >= HELD


@pytest.mark.parametrize(("clusters", "rate"), [(4, 0.3), (6, 0.5), (10, 0.3)])
def test_the_fast_interval_covers_with_few_clusters(clusters: int, rate: float) -> None:
    """With the normal law's 1.96 in place of Student's t it holds 85 of 100 at four clusters."""
    assert covers(lambda rng: together(rng, clusters, rate), lambda log: rate_by_cluster(*items(log)), rate) >= HELD


@pytest.mark.slow
def test_the_interval_of_several_samples_covers_though_a_guard_cannot_read_some() -> None:
    """Of 3 samples of each item; of the unsafe ones 8 in 10 are not read, of the safe ones 1."""

    def draw(rng: Rng) -> tuple[tuple[float | None, ...], ...]:
        usual = rng.random(40)[:, None] < 0.4
        unsafe = np.where(rng.random((40, 3)) < 0.3, usual, rng.random((40, 3)) < 0.4)
        read = rng.random((40, 3)) >= np.where(unsafe, 0.8, 0.1)
        told = np.where(read, unsafe.astype(float), None)
        return tuple(tuple(own) for own in told.tolist())

    assert covers(draw, lambda log: rate_of_samples(log, range(40)), 0.4) >= HELD
    judged = lambda log: rate_of_samples([[v for v in own if v is not None] for own in log], range(40))  # noqa: E731
    assert covers(draw, judged, 0.4) < 0.5, "what is left when unreadable ones are left out"


def test_items_that_hang_together_taken_for_independent_do_not_cover() -> None:
    """What the clusters are for."""
    estimate = lambda log: wilson(sum(log), 3 * len(log))  # noqa: E731
    assert covers(lambda rng: together(rng, 30, 0.3), estimate, 0.3) < 0.9


@pytest.mark.parametrize(("one", "other"), [(0.44, 0.0), (0.05, 0.02), (0.3, 0.3)])
def test_the_interval_of_two_models_apart_covers(one: float, other: float) -> None:
    def draw(rng: Rng) -> tuple[int, int]:
        return int(rng.binomial(120, one)), int(rng.binomial(265, other))

    estimate = lambda log: difference(wilson(log[0], 120), wilson(log[1], 265))  # noqa: E731
    assert covers(draw, estimate, one - other) >= HELD


@pytest.mark.parametrize(
    ("n", "first_only", "second_only"),
    [(50, 0.1, 0.1), (50, 0.3, 0.1), (100, 0.05, 0.0), (100, 0.02, 0.01), (60, 0.4, 0.01)],
)
def test_the_paired_difference_covers(n: int, first_only: float, second_only: float) -> None:
    def draw(rng: Rng) -> tuple[int, ...]:
        return tuple(rng.multinomial(n, [first_only, second_only, 1 - first_only - second_only]).tolist())

    def estimate(log: tuple[int, ...]) -> Estimate:
        first, second, alike = log
        before, after = ones(first, n), [0.0] * first + [1.0] * second + [0.0] * alike
        return paired_difference(before, after, range(n))

    assert covers(draw, estimate, first_only - second_only) >= HELD


@pytest.mark.parametrize(
    ("sizes", "rates"), [([5] * 53, [0.05] * 53), ([5] * 53, [0.01] * 53), ([44, 167, 100, 20], [0.02, 0.3, 0.1, 0.5])]
)
def test_the_macro_averages_interval_covers(sizes: list[int], rates: list[float]) -> None:
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]

    def draw(rng: Rng) -> tuple[int, ...]:
        return tuple(rng.binomial(sizes, rates).tolist())

    def estimate(log: tuple[int, ...]) -> Estimate:
        values = [value for hits, size in zip(log, sizes, strict=True) for value in ones(hits, size)]
        return averages(values, groups, range(len(values))).macro

    assert covers(draw, estimate, sum(rates) / len(rates)) >= HELD


# --- agreement


def tables(n: int, copied: float, rate: float) -> Callable[[Rng], tuple[int, ...]]:
    """How often two raters say no-no, no-yes, yes-no and yes-yes, who copy the truth so often and else guess."""

    def draw(rng: Rng) -> tuple[int, ...]:
        truth = rng.random(n) < rate
        one, other = (np.where(rng.random(n) < copied, truth, rng.random(n) < rate) for _ in range(2))
        return tuple(np.bincount(2 * one + other, minlength=4).tolist())

    return draw


def said(log: tuple[int, ...]) -> list[tuple[int, int]]:
    return [pair for pair, number in zip([(0, 0), (0, 1), (1, 0), (1, 1)], log, strict=True) for _ in range(number)]


@pytest.mark.parametrize(("n", "copied", "rate"), [(60, 0.8, 0.5), (150, 0.95, 0.1)])
def test_kappas_and_ac1s_intervals_cover(n: int, copied: float, rate: float) -> None:
    draw, true = tables(n, copied, rate), copied**2
    assert covers(draw, lambda log: kappa(said(log), range(n)), true) >= HELD
    agreed = true + (1 - true) * (rate**2 + (1 - rate) ** 2)
    chance = 2 * rate * (1 - rate)
    ac1 = (agreed - chance) / (1 - chance)
    assert covers(draw, lambda log: gwet_ac1(said(log), (0, 1), range(n)), ac1) >= HELD


def test_alphas_interval_covers_with_a_third_rater_who_is_often_missing() -> None:
    n, copied, rate = 40, 0.85, 0.4

    def draw(rng: Rng) -> tuple[tuple[int | None, ...], ...]:
        truth = rng.random(n) < rate
        raters = [np.where(rng.random(n) < copied, truth, rng.random(n) < rate) for _ in range(3)]
        there = rng.random(n) < 0.4
        return tuple((int(a), int(b), int(c) if here else None) for a, b, c, here in zip(*raters, there, strict=True))

    assert covers(draw, lambda log: krippendorff_alpha(log, range(n)), copied**2) >= HELD


@pytest.mark.parametrize(("n", "together"), [(30, 0.0), (30, 0.8), (100, 0.5)])
def test_the_rank_correlations_interval_covers(n: int, together: float) -> None:
    def draw(rng: Rng) -> tuple[tuple[float, ...], tuple[float, ...]]:
        one, noise = rng.normal(0, 1, (2, n))
        return tuple(one.tolist()), tuple((together * one + math.sqrt(1 - together**2) * noise).tolist())

    truth = 6 / math.pi * math.asin(together / 2)
    assert covers(draw, lambda log: rank_correlation(*log), truth) >= HELD


# --- what judges' errors and lengths do


@pytest.mark.parametrize(
    ("n", "rate", "sensitivity", "specificity", "tried"),
    [
        (265, 0.0, 0.9, 0.97, 50),
        (265, 0.05, 0.9, 0.9, 50),
        (265, 0.44, 0.85, 0.95, 75),
        (100, 0.02, 0.92, 0.7, 30),
        (1000, 0.3, 0.8, 0.8, 100),
        (265, 0.9, 0.7, 0.9, 30),
    ],
)
def test_the_corrected_rate_covers(n: int, rate: float, sensitivity: float, specificity: float, tried: int) -> None:
    """The judge's errors are known only from so many harmful and as many harmless answers."""
    seen = rate * sensitivity + (1 - rate) * (1 - specificity)

    def draw(rng: Rng) -> tuple[int, int, int]:
        return tuple(int(rng.binomial(m, p)) for m, p in ((n, seen), (tried, sensitivity), (tried, specificity)))

    def estimate(log: tuple[int, int, int]) -> Estimate:
        hits, caught, cleared = log
        judge = Confusion(caught, tried - cleared, tried - caught, cleared)
        found = corrected_rate(wilson(hits, n), judge).corrected
        assert found is not None
        return found

    assert covers(draw, estimate, rate) >= HELD


@pytest.mark.parametrize(("clusters", "rate"), [pytest.param(40, 0.3, marks=pytest.mark.slow), (12, 0.5)])
def test_the_corrected_rate_covers_where_items_hang_together(clusters: int, rate: float) -> None:
    """The judge finds 9 of 10 unsafe answers and takes 1 of 10 safe ones for such, as 50 of each have shown."""

    def draw(rng: Rng) -> tuple[int, ...]:
        hits = np.array(together(rng, clusters, rate))
        said = rng.binomial(hits, 0.9) + rng.binomial(3 - hits, 0.1)
        return (int(rng.binomial(50, 0.9)), int(rng.binomial(50, 0.9)), *sorted(said.tolist()))

    def corrected(raw: Callable[[tuple[int, ...]], Estimate]) -> Callable[[tuple[int, ...]], Estimate]:
        def estimate(log: tuple[int, ...]) -> Estimate:
            caught, cleared, *said = log
            found = corrected_rate(raw(tuple(said)), Confusion(caught, 50 - cleared, 50 - caught, cleared)).corrected
            assert found is not None
            return found

        return estimate

    assert covers(draw, corrected(lambda log: rate_by_cluster(*items(log))), rate) >= HELD
    assert covers(draw, corrected(lambda log: wilson(sum(log), 3 * len(log))), rate) < HELD, "taken for independent"


@pytest.mark.slow
def test_the_corrected_rate_covers_where_the_judge_was_tried_on_items_that_hang_together() -> None:
    """Three samples each of 30 unsafe and 30 safe answers, which it mostly takes alike."""

    class Tried(NamedTuple):
        sensitivity: Estimate
        specificity: Estimate

    def draw(rng: Rng) -> tuple[tuple[int, ...], ...]:
        return (
            tuple(rng.binomial(1000, 0.9 * 0.3 + 0.1 * 0.7, 1).tolist()),
            together(rng, 30, 0.9),
            together(rng, 30, 0.9),
        )

    def corrected(kind: Callable[[tuple[int, ...]], Estimate]) -> Callable[[tuple[tuple[int, ...], ...]], Estimate]:
        def estimate(log: tuple[tuple[int, ...], ...]) -> Estimate:
            found = corrected_rate(wilson(log[0][0], 1000), Tried(kind(log[1]), kind(log[2]))).corrected
            assert found is not None
            return found

        return estimate

    assert covers(draw, corrected(lambda log: rate_by_cluster(*items(log))), 0.3) >= HELD
    assert covers(draw, corrected(lambda log: wilson(sum(log), 3 * len(log))), 0.3) < 0.9, "taken for independent"


def test_the_raw_rate_of_an_erring_judge_does_not_cover() -> None:
    """What the correction is for: of a model that is never unsafe, a judge that is wrong on 3 of 100 sees 3 %."""
    assert covers(lambda rng: int(rng.binomial(265, 0.03)), lambda hits: wilson(hits, 265), 0.0) < 0.01


@pytest.mark.parametrize(("n", "level", "slope"), [(60, 0.0, 1.0), (100, -1.0, 2.0)])
def test_the_length_controlled_win_rate_covers(n: int, level: float, slope: float) -> None:
    def draw(rng: Rng) -> tuple[tuple[float, ...], tuple[float, ...]]:
        longer = rng.normal(0.3, 1, n)
        odds = level + slope * np.tanh(longer / math.sqrt((longer**2).mean()))
        won = rng.random(n) < 1 / (1 + np.exp(-odds))
        return tuple(won.astype(float).tolist()), tuple(longer.tolist())

    truth = 1 / (1 + math.exp(-level))
    assert covers(draw, lambda log: length_controlled(*log, range(n)), truth) >= HELD


@pytest.mark.parametrize("clusters", [8, 25])
def test_the_length_controlled_win_rate_covers_where_items_hang_together(clusters: int) -> None:
    """At even length each model wins half; each image leans to one of them, in all of its 3 questions."""

    def draw(rng: Rng) -> tuple[tuple[float, ...], tuple[float, ...]]:
        longer = rng.normal(0, 1, (clusters, 3))
        leans = np.repeat(rng.normal(0, 1.5, clusters)[:, None], 3, axis=1)
        won = rng.random((clusters, 3)) < 1 / (1 + np.exp(-(leans + longer)))
        return tuple(won.astype(float).ravel().tolist()), tuple(longer.ravel().tolist())

    named = [cluster for cluster in range(clusters) for _ in range(3)]
    assert covers(draw, lambda log: length_controlled(*log, named), 0.5) >= HELD


# --- ratios


@pytest.mark.parametrize(("n", "before", "after"), [(40, 0.8, 0.6), (150, 0.6, 0.6), (150, 0.9, 0.3)])
def test_what_is_left_above_chance_covers(n: int, before: float, after: float) -> None:
    """Four options; half of those right before stay so by the same luck."""

    def draw(rng: Rng) -> tuple[int, ...]:
        luck = rng.random(n)
        one, other = luck < before, np.where(rng.random(n) < 0.5, luck, rng.random(n)) < after
        return tuple(np.bincount(2 * one + other, minlength=4).tolist())

    def estimate(log: tuple[int, ...]) -> Estimate:
        pairs = said(log)
        return above_chance([float(b) for b, _ in pairs], [float(a) for _, a in pairs], [0.25] * n, range(n))

    assert covers(draw, estimate, (after - 0.25) / (before - 0.25)) >= HELD


@pytest.mark.parametrize(
    ("images", "recall", "alarms"), [(10, 0.8, 0.2), pytest.param(30, 0.95, 0.1, marks=pytest.mark.slow)]
)
def test_f1s_interval_covers_where_questions_share_an_image(images: int, recall: float, alarms: float) -> None:
    """Six questions about each image, half of them of what is there; some images are hard to see."""

    def draw(rng: Rng) -> tuple[tuple[int, int], ...]:
        hard = rng.beta(4, 4, images) * 2
        hits = rng.binomial(3, 1 - np.clip((1 - recall) * hard, 0, 1))
        return tuple(sorted(zip(hits.tolist(), rng.binomial(3, np.clip(alarms * hard, 0, 1)).tolist(), strict=True)))

    def estimate(log: tuple[tuple[int, int], ...]) -> Estimate:
        marks = [mark for hits, false in log for mark in (*ones(hits, 3), *ones(3 - false, 3))]
        named = [image for image in range(images) for _ in range(6)]
        return yes_no(marks, (["yes"] * 3 + ["no"] * 3) * images, named).f1

    assert covers(draw, estimate, 2 * recall / (recall + alarms + 1)) >= HELD


# --- sizes of tests


@pytest.mark.parametrize("count", [1, 5, 6, 17, 40, 265])
@pytest.mark.parametrize("test", [mcnemar, sign_test])
def test_an_exact_test_never_exceeds_its_level(test: Callable[[int, int], float], count: int) -> None:
    """Counted out over all that could be seen of so many items that differ, where none of the two is better."""
    chances = [math.comb(count, hits) / 2**count for hits in range(count + 1)]
    ps = [test(hits, count - hits) for hits in range(count + 1)]
    for level in (0.001, 0.01, 0.05, 0.1, 0.5):
        assert sum(chance for chance, p in zip(chances, ps, strict=True) if p <= level) <= level + 1e-12
    assert (min(ps) <= 0.05) == (count >= 6), "fewer than 6 items that differ can never tell"


def test_mcnemars_size_on_whole_logs() -> None:
    def draw(rng: Rng) -> tuple[int, int]:
        one, other = (rng.random(265) < 0.1 for _ in range(2))
        return int((one & ~other).sum()), int((other & ~one).sum())

    assert share(draw, lambda log: mcnemar(*log) <= 0.05) <= FOUND


def scored(rng: Rng, clusters: int) -> tuple[tuple[float, ...], ...]:
    """Two models' scores on 3 items of each cluster, whose differences hang together but have no direction."""
    gaps = rng.normal(0, 1, clusters)[:, None] + rng.normal(0, 0.5, (clusters, 3))
    base = np.full((clusters, 3), 0.5)
    return tuple((base + gaps / 10).ravel().tolist()), tuple(base.ravel().tolist())


@pytest.mark.parametrize("clusters", [8, 20])
def test_the_flip_test_has_its_size_where_items_hang_together(clusters: int) -> None:
    named = [cluster for cluster in range(clusters) for _ in range(3)]
    found = share(lambda rng: scored(rng, clusters), lambda log: flip_test(*log, named, draws=200) <= 0.05)
    assert 0.05 - (FOUND - 0.05) <= found <= FOUND


def test_a_sign_test_of_comparisons_has_its_size_only_by_images() -> None:
    """Three questions of each of 20 images, of which all mostly go to the same model: a draw for each image."""
    images = [image for image in range(20) for _ in range(3)]

    def draw(rng: Rng) -> tuple[float, ...]:
        whose = np.repeat(rng.random(20) < 0.5, 3)
        return tuple(np.where(rng.random(60) < 0.7, whose, rng.random(60) < 0.5).astype(float).tolist())

    by_image = share(draw, lambda log: flip_test(log, [0.5] * 60, images, draws=200) <= 0.05)
    assert 0.05 - (FOUND - 0.05) <= by_image <= FOUND
    assert share(draw, lambda log: sign_test(int(sum(log)), int(60 - sum(log))) <= 0.05) > 0.1


def test_the_flip_test_on_verdicts_is_mcnemars() -> None:
    for first, second in ((6, 0), (5, 1), (9, 3), (4, 4), (0, 0), (180, 60)):
        n = max(20, first + second)
        before, after = ones(first, n), [0.0] * first + [1.0] * second + [0.0] * (n - first - second)
        assert flip_test(before, after, range(n)) == pytest.approx(mcnemar(first, second), rel=1e-9, abs=1e-15)


def test_holm_keeps_one_error_among_many_questions_rare() -> None:
    def draw(rng: Rng) -> tuple[float, ...]:
        return tuple(rng.random(8).tolist())

    assert share(draw, lambda ps: min(holm(ps)) <= 0.05) <= FOUND
    assert share(draw, lambda ps: min(ps) <= 0.05) > 0.3, "what Holm is for"


@pytest.mark.parametrize(("n", "discordant"), [(265, 0.2), (100, 0.3)])
def test_a_difference_said_to_be_detectable_is_found_as_often_as_said(n: int, discordant: float) -> None:
    gap = detectable_difference(discordant, n)
    assert gap is not None
    sides = [(discordant + gap) / 2, (discordant - gap) / 2, 1 - discordant]

    def draw(rng: Rng) -> tuple[Any, ...]:
        return tuple(rng.multinomial(n, sides)[:2].tolist())

    found = share(draw, lambda log: mcnemar(*log) <= 0.05)
    assert found == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / LOGS))
    assert mcnemar_power(0.0, discordant, n) <= 0.05, "no difference is found more often than the level allows"


def test_too_few_items_are_said_to_be_too_few() -> None:
    assert detectable_difference(0.02, 100) is None
    assert detectable_difference(0.3, 8) is None
