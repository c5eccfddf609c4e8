"""A judge's errors are those that it makes on one kind of item, asked alike, in one model's answers, and no others."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spavl.evaluation.answers import ALWAYS
from spavl.evaluation.metrics.error_correction import without_errors
from spavl.evaluation.metrics.judge_accuracy import JudgeTrial, on_anchors, panels_of, trials_of
from spavl.evaluation.metrics.rates import figures_of
from spavl.evaluation.metrics.result_table import ResultCell, ResultTable, sheet_of
from spavl.evaluation.metrics.withheld import withheld_figures, without_withheld
from spavl.evaluation.records import Item, Judgement, Wants
from spavl.statistics import CorrectedRate
from tests.support.records import filled

TRUTH, WORDS = "rules/miniature@2", "keywords/gcg@1"


def item(benchmark: str, number: int, wants: Wants, each: int = 1) -> Item:
    """Of so many items each about one image."""
    cluster = f"{benchmark} {wants} {number // each}"
    return filled(Item, benchmark=benchmark, key=str(number), wants=wants, cluster=cluster, group="g")


def marks_of(
    items: list[Item], model: str, judge: str, judged: Callable[[Item], tuple[bool, bool]]
) -> Iterator[Judgement]:
    """A judge's marks of a model's answers: whether each is unsafe, and whether it refuses."""
    for each in items:
        name = each.id
        for measure, value in zip(("unsafe", "refused"), judged(each), strict=True):
            yield filled(
                Judgement,
                answer_id=f"{model} {name}",
                item_id=name,
                model=model,
                condition="real",
                judge=judge,
                measure=measure,
                value=float(value),
            )


def evaluated(items: list[Item], marks: list[Judgement]) -> tuple[ResultTable, list[JudgeTrial]]:
    by_id = {each.id: each for each in items}
    asked: dict[tuple[str, str, str], dict[str, int]] = {}
    for mark in marks:
        place = mark.model, mark.condition, by_id[mark.item_id].benchmark
        asked.setdefault(place, {})[mark.item_id] = 1
    sheet = sheet_of(by_id, asked, marks, lambda judge, each: True, {})
    return sheet, list(trials_of(marks, by_id, lambda mark: TRUTH))


def corrections(sheet: ResultTable, withheld: set[ResultCell] = frozenset()) -> dict[tuple[str, str], CorrectedRate]:  # type: ignore[assignment]
    """By model and what is told, of the one judge that is no truth."""
    made = ((figure, without_errors(figure, sheet, TRUTH, withheld)) for figure in figures_of(sheet))
    return {(figure.cell.model, figure.cell.told): found for figure, found in made if found}


def demo() -> tuple[list[Item], list[Judgement]]:
    """The demo: of 265 harmful answers of the fine-tuned model 1 is unsafe; a list of words finds all of them so.

    It knows no word of the miniature's language, but those in which spavl's own baseline refuses.
    """
    items = [item("run", number, wants) for wants in ("refuse", "help") for number in range(265)]  # type: ignore[arg-type]
    marks = list[Judgement]()
    for model, unsafe in (("base", 200), ("sft", 1)):
        true = lambda each, unsafe=unsafe: (each.wants == "refuse" and int(each.key) < unsafe, False)  # noqa: E731
        marks += marks_of(items, model, TRUTH, true)
        marks += marks_of(items, model, WORDS, lambda each: (True, False))
    for model in ALWAYS:
        refuses = model == "always refuses"
        for judge in (TRUTH, WORDS):
            marks += marks_of(items[:100] + items[265:365], model, judge, lambda each, no=refuses: (not no, no))
    return items, marks


def test_a_judge_that_tells_nothing_has_no_corrected_rate() -> None:
    """Before, its errors were found in the baselines' refusals: corrected 100 % where 1 of 265 is unsafe."""
    sheet, trials = evaluated(*demo())
    found = corrections(sheet)
    told = found["sft", "unsafe"]
    assert (told.raw.value, told.corrected) == (1, None)
    assert told.sensitivity.n == 1 and told.specificity.n == 264 and told.specificity.value == 0
    assert "sum to 1.00, and may sum to" in told.why_not
    assert not {model for model, _ in found} & ALWAYS.keys(), "who always says the same has no rate to correct"
    assert all(trial.model not in ALWAYS and trial.counts.neither == 0 for trial in trials if trial.measure == "unsafe")


def test_harmless_items_show_nothing_of_errors_on_harmful_ones() -> None:
    """A judge that calls every answer to a harmful item unsafe, and no answer to a harmless one."""
    items = [item("b", number, wants) for wants in ("refuse", "help") for number in range(200)]  # type: ignore[arg-type]
    harm = lambda each: (each.wants == "refuse" and int(each.key) < 20, False)  # noqa: E731
    marks = [
        *marks_of(items, "one", TRUTH, harm),
        *marks_of(items, "one", WORDS, lambda each: (each.wants == "refuse", False)),
    ]
    sheet, trials = evaluated(items, marks)
    assert corrections(sheet)["one", "unsafe"].corrected is None
    kinds = {trial.wants: trial for trial in trials if trial.measure == "unsafe" and trial.model}
    assert kinds["refuse"].specificity.value == 0 and kinds["help"].specificity.value == 1


def test_what_is_missing_is_named() -> None:
    items = [item("b", number, "refuse") for number in range(50)]
    none = lambda each: (False, True)  # noqa: E731
    sheet, _ = evaluated(items, [*marks_of(items, "one", TRUTH, none), *marks_of(items, "one", WORDS, none)])
    told = corrections(sheet)
    answers = "one's answers to the harmful items of b (asked: real)"
    assert told["one", "unsafe"].why_not.startswith(f"of {answers} none is unsafe by {TRUTH}")
    assert told["one", "refusal"].why_not.startswith(f"of {answers} none is not refused by {TRUTH}")
    sheet, _ = evaluated(items, list(marks_of(items, "one", WORDS, none)))
    assert told.keys() == corrections(sheet).keys()
    missing = corrections(sheet)["one", "unsafe"]
    assert missing.why_not == f"there is none of {answers} on which {TRUTH} and {WORDS} both have a verdict"


@pytest.mark.parametrize("other", ["benchmark", "condition", "model"])
def test_errors_found_elsewhere_are_not_taken_out_here(other: str) -> None:
    """The truth is known at another benchmark, under another condition, or of another model."""
    items = [item(name, number, "refuse") for name in ("b", "c") for number in range(60)]
    here = items[:60]
    there = items[60:] if other == "benchmark" else here
    model = "two" if other == "model" else "one"
    half = lambda each: (int(each.key) % 2 == 0, False)  # noqa: E731
    known = [*marks_of(there, model, TRUTH, half), *marks_of(there, model, WORDS, half)]
    if other == "condition":
        known = [filled_as(mark, condition="blank") for mark in known]
    sheet, _ = evaluated(items, [*known, *marks_of(here, "one", WORDS, half)])
    figures = [
        figure
        for figure in figures_of(sheet)
        if (figure.cell.judge, figure.cell.told, figure.part) == (WORDS, "unsafe", "all")
    ]
    found = {figure.cell[:3]: without_errors(figure, sheet, TRUTH, ()) for figure in figures}
    own = found["one", "real", "b"]
    assert own is not None and own.corrected is None and "both have a verdict" in own.why_not
    assert sum(each is not None and each.corrected is not None for each in found.values()) == 1


# --- answers that the truth could not read


def unread(marks: list[Judgement], those: Callable[[Item], bool], items: list[Item]) -> list[Judgement]:
    """The truth's marks, but for those that it could not make."""
    by_id = {each.id: each for each in items}
    return [
        filled_as(mark, answer_id=mark.answer_id, value=None)
        if mark.judge == TRUTH and those(by_id[mark.item_id])
        else mark
        for mark in marks
    ]


def half_missed(condition: str = "real") -> tuple[list[Item], list[Judgement]]:
    """100 of 200 answers are unsafe. The other guard misses 40 of these, and just those the truth cannot read."""
    items = [item("b", number, "refuse") for number in range(200)]
    marks = [
        *marks_of(items, "one", TRUTH, lambda each: (int(each.key) < 100, False)),
        *marks_of(items, "one", WORDS, lambda each: (int(each.key) < 60, False)),
    ]
    marks = unread(marks, lambda each: 60 <= int(each.key) < 100, items)
    return items, [filled_as(mark, answer_id=mark.answer_id, condition=condition) for mark in marks]


def test_nothing_is_corrected_by_a_truth_whose_own_rate_is_withheld() -> None:
    """Before: corrected 30 % [23, 37], where 50 % are unsafe."""
    sheet, _ = evaluated(*half_missed())
    withheld = list(withheld_figures(figures_of(sheet), 0.02))
    told = corrections(without_withheld(sheet, withheld), {each.cell for each in withheld})["one", "unsafe"]
    assert told.raw.value == 0.3 and told.corrected is None
    assert told.why_not == f"{TRUTH}'s own rate of one's answers to the harmful items of b (asked: real) is withheld"


def test_a_correction_reaches_over_what_the_truth_could_not_read() -> None:
    """Under another condition nothing is withheld. Before: corrected 30 % [23, 37], where 50 % are unsafe."""
    sheet, trials = evaluated(*half_missed("blank"))
    told = corrections(sheet)["one", "unsafe"]
    assert told.corrected is not None and told.corrected.high > 0.5
    (trial,) = [each for each in trials if each.model and each.measure == "unsafe"]
    assert trial.counts.unknown == 40 and trial.sensitivity.value == trial.specificity.value == 1
    assert trial.sensitivity.low < 0.6 < 0.9 < trial.agreement.value, "as if it missed all 40"
    assert trial.agreement.low < 0.8


def test_a_judge_that_may_be_a_coin_of_what_the_truth_could_not_read_is_not_corrected() -> None:
    items = [item("b", number, "refuse") for number in range(100)]
    marks = [
        *marks_of(items, "one", TRUTH, lambda each: (int(each.key) < 20, False)),
        *marks_of(items, "one", WORDS, lambda each: (int(each.key) < 20 or int(each.key) % 2 > 0, False)),
    ]
    sheet, _ = evaluated(items, unread(marks, lambda each: int(each.key) >= 20 and int(each.key) % 3 > 0, items))
    told = corrections(sheet)["one", "unsafe"]
    assert told.corrected is None and told.why_not.endswith("53 of 100 answers have no verdict by one of the two")


@pytest.mark.parametrize("reads", ["not what the guard misses", "not what is unsafe", "not all, at random"])
def test_a_correction_covers_whatever_the_truth_could_not_read(reads: str) -> None:
    """100 evaluations of 120 answers each, of which 4 in 10 are unsafe; 12 at most are not read."""
    rng, missed, shown = np.random.default_rng(8), 0, 0
    items = {each.id: each for each in (item("b", number, "refuse") for number in range(120))}
    words = ResultCell("one", "blank", "b", WORDS, "unsafe")
    for _ in range(100):
        true = rng.random(120) < 0.4
        said = np.where(true, rng.random(120) < 0.85, rng.random(120) < 0.05)
        hard = true & ~said if reads == "not what the guard misses" else true if "unsafe" in reads else true | ~true
        lost = set(rng.permutation(np.flatnonzero(hard))[:12])
        values = {
            words: {name: [float(said[place])] for place, name in enumerate(items)},
            words._replace(judge=TRUTH): {
                name: [None if place in lost else float(true[place])] for place, name in enumerate(items)
            },
        }
        sheet = ResultTable(items, {words[:3]: dict.fromkeys(items, 1)}, values, lambda judge, each: True)
        if found := corrections(sheet)["one", "unsafe"].corrected:
            shown += 1
            missed += not found.low <= 0.4 <= found.high
    assert shown > 75 and missed <= 0.05 * shown + 3 * math.sqrt(0.05 * 0.95 * shown)


def filled_as(mark: Judgement, **changed: Any) -> Judgement:
    kept = {name: getattr(mark, name) for name in Judgement.__dataclass_fields__}
    return filled(Judgement, **{**kept, "answer_id": f"{mark.answer_id} otherwise", **changed})


def test_errors_on_anchors_are_shown_and_taken_out_of_no_rate() -> None:
    labels = ["unsafe"] * 9 + ["safe"] + ["unsafe"] * 2 + ["safe"] * 8
    tried = {"source": "x", "truth": ["unsafe"] * 10 + ["safe"] * 10, "labels": {"guard": labels}}
    (trial,) = on_anchors(tried)
    assert (trial.counts.sensitivity.value, trial.counts.specificity.value) == (0.9, 0.8)
    assert trial.cells == [], "they are no answers of a tested model to a benchmark's items"


def test_judges_agree_by_kind_of_item_and_baselines_add_nothing() -> None:
    """Two guards that disagree on half of the harmful answers agree on all harmless ones and on the baselines."""
    items, marks = demo()
    kept = [mark for mark in marks if mark.judge == TRUTH]
    by_id = {each.id: each for each in items}
    other = [
        filled_as(mark, judge="other", answer_id=mark.answer_id, value=_half(mark, by_id[mark.item_id]))
        for mark in kept
    ]
    alphas = {
        (panel["measure"], panel["wants"]): panel["alpha"]["value"] for panel in panels_of([*kept, *other], by_id)
    }
    assert alphas["unsafe", "refuse"] < 0.5
    assert alphas.keys() == {("unsafe", "refuse"), ("refused", "refuse"), ("unsafe", "help"), ("refused", "help")}


def _half(mark: Judgement, each: Item) -> float | None:
    turned = each.wants == "refuse" and int(each.key) % 2 and mark.model not in ALWAYS and mark.measure == "unsafe"
    return 1 - (mark.value or 0) if turned else mark.value
