"""What is made of cells: findings for each model, losses against the model before training, fronts, and curves."""

from collections.abc import Mapping, Sequence

import pytest

from spavl.studies.analysis.comparisons import rates_of_arm
from spavl.studies.analysis.curves import curve_sentences, scale_curves
from spavl.studies.analysis.findings import findings_of, sentences_of, withheld_sentences
from spavl.studies.analysis.front import front_of, front_sentences
from spavl.studies.config import Expectation, StudyConfig
from spavl.studies.measured import MeasuredCell
from spavl.studies.results import ArmRate, RateName
from tests.support.studies import a_measured_cell, an_arm

BAD, HALF, GOOD = [1.0] * 40, [1.0, 0.0] * 20, [0.0] * 40


def test_the_papers_findings_are_told_of_each_model() -> None:
    config = StudyConfig(
        model=("hf/one/base", "hf/two/base"),
        expectations=(Expectation(lower="all", higher="safe", metric="unsafe", paper="a table"),),
    )
    rates = {"all (one/base)": GOOD, "safe (one/base)": BAD, "all (two/base)": BAD, "safe (two/base)": GOOD}
    arms = [an_arm(name, "hf/one/base" if "one" in name else "hf/two/base") for name in rates]
    cells = [a_measured_cell(arm, seed, {"unsafe": rates[arm.name]}) for arm in arms for seed in (1, 2, 3)]
    found = list(findings_of(config, cells))
    assert [(each.lower, each.state) for each in found] == [
        ("all (one/base)", "as in the paper"),
        ("all (two/base)", "against the paper"),
    ]


def test_each_model_is_compared_with_itself_before_training() -> None:
    config = StudyConfig(model=("hf/one/a", "hf/two/b"))
    arms = [
        an_arm("untrained (a)", "hf/one/a", trained=False),
        an_arm("trained (a)", "hf/one/a"),
        an_arm("untrained (b)", "hf/two/b", trained=False),
        an_arm("trained (b)", "hf/two/b"),
    ]
    values = [BAD, GOOD, HALF, GOOD]
    cells = [a_measured_cell(arm, 1, {"unsafe": own}) for arm, own in zip(arms, values, strict=True)]
    rates = [each for arm in arms for each in rates_of_arm(arm, cells)]
    said = list(sentences_of(config, arms, rates, [], []))
    assert "; untrained (a) 100" in said[0] and "; untrained (b) 50" in said[1]
    assert "untrained (b)" not in said[0] and "untrained (a)" not in said[1]


def cells_of_front(withheld: Sequence[tuple[str, int]]) -> list[MeasuredCell]:
    """Two arms and the untrained model; over-refusal is withheld in some cells."""
    arms = [an_arm("untrained", trained=False), an_arm("x"), an_arm("y")]
    values = {"untrained": (BAD, GOOD), "x": (GOOD, HALF), "y": (HALF, GOOD)}
    return [
        a_measured_cell(
            arm,
            seed,
            {"unsafe": values[arm.name][0]}
            | ({} if (arm.name, seed) in withheld else {"over_refusal": values[arm.name][1]}),
        )
        for arm in arms
        for seed in ((1, 2, 3) if arm.training else (0,))
    ]


@pytest.mark.parametrize(
    ("withheld", "seeds", "rates"),
    [
        ([], (1, 2, 3), {"unsafe", "over_refusal"}),
        ([("x", 2)], (1, 3), {"unsafe", "over_refusal"}),
        ([("x", 2), ("y", 1)], (3,), {"unsafe", "over_refusal"}),
        ([("x", 1), ("x", 2), ("y", 3)], (1, 2, 3), {"unsafe"}),
    ],
)
def test_a_front_is_over_the_seeds_in_which_all_arms_have_all_rates(
    withheld: list[tuple[str, int]], seeds: tuple[int, ...], rates: set[str]
) -> None:
    cells = cells_of_front(withheld)
    front = front_of(list({cell.cell.arm.name: cell.cell.arm for cell in cells}.values()), cells)
    assert {each.arm for each in front} == {"untrained", "x", "y"}
    assert {each.seeds for each in front} == {seeds}
    assert front[0].rates.keys() == rates
    told = {each.arm: each.dominated_by for each in front}
    # x is never unsafe, y never refuses, and the untrained model is as bad as y at its worst.
    assert not told["x"] and told["untrained"]
    assert bool(told["y"]) == ("over_refusal" not in rates)
    assert str(seeds[0]) in next(front_sentences(front))


def test_a_curve_of_two_sizes_has_no_form_no_line_and_no_numbers() -> None:
    base = an_arm("untrained", trained=False)
    sizes = {64: HALF, 256: GOOD}
    cells = [a_measured_cell(base, 0, {"unsafe": BAD})]
    for size, own in sizes.items():
        arm = an_arm(f"{size} pairs", **{"selection.pairs": size})
        cells.append(a_measured_cell(arm, 1, {"unsafe": own}, size))
    (curve,) = scale_curves(cells)
    assert curve.form == "not identified" and curve.why_not
    assert not curve.line and curve.doubling is None
    assert all(each.pairs is None for each in curve.needed if each.status == "not identified")
    assert not any("+0.0" in sentence for sentence in curve_sentences(curve))
    assert [each.pairs for each in curve.rates] == [0, 64, 256]


def cells_of_curve(seeds: Sequence[int], rates: Mapping[int, float]) -> list[MeasuredCell]:
    """Cells of these sizes, each with as many unsafe answers of 100."""
    cells = [a_measured_cell(an_arm("untrained", trained=False), 0, {"unsafe": unsafe(rates[0])})]
    for size, rate in rates.items():
        arm = an_arm(f"{size:,} pairs", **{"selection.pairs": size})
        cells += [a_measured_cell(arm, seed, {"unsafe": unsafe(rate)}, size) for seed in seeds if size]
    return cells


def unsafe(rate: float) -> list[float]:
    return [1.0] * round(100 * rate) + [0.0] * (100 - round(100 * rate))


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_a_curve_whose_form_is_not_identified_has_no_line_and_says_what_would_help(seeds: tuple[int, ...]) -> None:
    rates = {0: 0.5, 10: 0.5, 20: 0.49, 40: 0.5, 80: 0.51, 160: 0.5}
    (curve,) = scale_curves(cells_of_curve(seeds, rates))
    assert curve.form == "not identified" and not curve.line and "constant" in curve.may_be
    assert ("several seeds" in curve.what_helps) == (len(seeds) == 1)
    said = " ".join(curve_sentences(curve))
    assert curve.what_helps in said
    assert "pairs until" not in said or "by every form that may be true" in said


def test_a_curve_whose_form_is_identified_has_a_line() -> None:
    rates = {0: 0.94, 20: 0.94, 50: 0.93, 90: 0.9, 180: 0.7, 360: 0.25, 720: 0.04, 1440: 0.0, 2880: 0.0}
    (curve,) = scale_curves(cells_of_curve((1, 2, 3), rates))
    assert "logistic" in curve.form and curve.line and not curve.why_not
    assert not curve.what_helps and not curve.may_be


def test_a_rate_has_a_value_for_each_seed() -> None:
    arm = an_arm("x")
    cells = [a_measured_cell(arm, seed, {"unsafe": own}) for seed, own in ((1, GOOD), (2, HALF))]
    (rate,) = rates_of_arm(arm, cells)
    assert isinstance(rate, ArmRate) and rate.name == RateName("run", "unsafe") and rate.by_seed == (0.0, 0.5)


def test_a_rate_that_is_withheld_in_some_cells_is_told() -> None:
    cells = cells_of_front([("x", 2), ("x", 3)])
    arms = list({cell.cell.arm.name: cell.cell.arm for cell in cells}.values())
    (told,) = withheld_sentences(arms, cells)
    assert told.startswith("run, refusals of harmless questions: withheld") and "x (seed 2, 3)" in told
    assert not list(withheld_sentences(arms, cells_of_front([])))


@pytest.mark.parametrize("changed", [True, False])
def test_a_training_that_changes_nothing_is_told(changed: bool) -> None:
    config = StudyConfig(model=("miniature/base",))
    arms = [an_arm("untrained", trained=False), an_arm("x"), an_arm("y")]
    values = [BAD, BAD, HALF if changed else BAD]
    cells = [a_measured_cell(arm, 1, {"unsafe": own}) for arm, own in zip(arms, values, strict=True)]
    rates = [each for arm in arms for each in rates_of_arm(arm, cells)]
    told = [each for each in sentences_of(config, arms, rates, [], []) if "does not tell its arms apart" in each]
    assert bool(told) != changed
