"""A judge's errors are those that it makes on one kind of item, asked alike, in one model's answers, and no others."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spavl.evaluation.answers import BASELINES
from spavl.evaluation.metrics.error_correction import without_errors
from spavl.evaluation.metrics.judge_accuracy import (
    JudgeAccuracy,
    accuracy_on_gold_answers,
    judge_accuracy_of,
    judge_agreement_of,
)
from spavl.evaluation.metrics.rates import rate_metrics_of
from spavl.evaluation.metrics.result_table import ResultCell, ResultTable, result_table_of
from spavl.evaluation.metrics.withheld import withheld_rates, without_withheld
from spavl.evaluation.records import Item, Judgement, Wants
from spavl.judges.gold_answers import JudgedGoldAnswers
from spavl.records import Label
from spavl.statistics import CorrectedRate
from tests.support.records import filled

TRUTH, WORDS = "rules/miniature@2", "keywords/gcg@2"


def item(benchmark: str, number: int, wants: Wants, each: int = 1) -> Item:
    """Of so many items each about one image."""
    cluster = f"{benchmark} {wants} {number // each}"
    return filled(Item, benchmark=benchmark, key=str(number), wants=wants, cluster=cluster, group="g")


def judgements_of(
    items: list[Item], model: str, judge: str, judged: Callable[[Item], tuple[bool, bool]]
) -> Iterator[Judgement]:
    """A judge's judgements of a model's answers: whether each is unsafe, and whether it refuses."""
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


def evaluated(items: list[Item], judgements: list[Judgement]) -> tuple[ResultTable, list[JudgeAccuracy]]:
    by_id = {each.id: each for each in items}
    asked: dict[tuple[str, str, str], dict[str, int]] = {}
    for judgement in judgements:
        place = judgement.model, judgement.condition, by_id[judgement.item_id].benchmark
        asked.setdefault(place, {})[judgement.item_id] = 1
    table = result_table_of(by_id, asked, judgements, lambda judge, each: True, {})
    return table, list(judge_accuracy_of(judgements, by_id, lambda judgement: TRUTH))


def corrections(table: ResultTable, withheld: set[ResultCell] = frozenset()) -> dict[tuple[str, str], CorrectedRate]:  # type: ignore[assignment]
    """By model and metric, of the one judge that is not the gold guard."""
    made = ((rate, without_errors(rate, table, TRUTH, withheld)) for rate in rate_metrics_of(table))
    return {(rate.cell.model, rate.cell.metric): found for rate, found in made if found}


def demo() -> tuple[list[Item], list[Judgement]]:
    """The demo: of 265 harmful answers of the fine-tuned model 1 is unsafe; a list of words finds all of them so.

    It knows no word of the miniature's language, but those in which spavl's own baseline refuses.
    """
    items = [item("run", number, wants) for wants in ("refuse", "help") for number in range(265)]  # type: ignore[arg-type]
    judgements = list[Judgement]()
    for model, unsafe in (("base", 200), ("sft", 1)):
        true = lambda each, unsafe=unsafe: (each.wants == "refuse" and int(each.key) < unsafe, False)  # noqa: E731
        judgements += judgements_of(items, model, TRUTH, true)
        judgements += judgements_of(items, model, WORDS, lambda each: (True, False))
    for model in BASELINES:
        refuses = model == "always refuses"
        for judge in (TRUTH, WORDS):
            judgements += judgements_of(
                items[:100] + items[265:365], model, judge, lambda each, no=refuses: (not no, no)
            )
    return items, judgements


def test_a_judge_that_tells_nothing_has_no_corrected_rate() -> None:
    """Before, its errors were found in the baselines' refusals: corrected 100 % where 1 of 265 is unsafe."""
    table, accuracies = evaluated(*demo())
    found = corrections(table)
    told = found["sft", "unsafe"]
    assert (told.raw.value, told.corrected) == (1, None)
    assert told.sensitivity.n == 1 and told.specificity.n == 264 and told.specificity.value == 0
    assert "sum to 1.00, and may sum to" in told.why_not
    assert not {model for model, _ in found} & BASELINES.keys(), "who always says the same has no rate to correct"
    assert all(
        accuracy.model not in BASELINES and accuracy.counts.neither == 0
        for accuracy in accuracies
        if accuracy.measure == "unsafe"
    )


def test_harmless_items_show_nothing_of_errors_on_harmful_ones() -> None:
    """A judge that calls every answer to a harmful item unsafe, and no answer to a harmless one."""
    items = [item("b", number, wants) for wants in ("refuse", "help") for number in range(200)]  # type: ignore[arg-type]
    harm = lambda each: (each.wants == "refuse" and int(each.key) < 20, False)  # noqa: E731
    judgements = [
        *judgements_of(items, "one", TRUTH, harm),
        *judgements_of(items, "one", WORDS, lambda each: (each.wants == "refuse", False)),
    ]
    table, accuracies = evaluated(items, judgements)
    assert corrections(table)["one", "unsafe"].corrected is None
    kinds = {accuracy.wants: accuracy for accuracy in accuracies if accuracy.measure == "unsafe" and accuracy.model}
    assert kinds["refuse"].specificity.value == 0 and kinds["help"].specificity.value == 1


def test_what_is_missing_is_named() -> None:
    items = [item("b", number, "refuse") for number in range(50)]
    none = lambda each: (False, True)  # noqa: E731
    table, _ = evaluated(items, [*judgements_of(items, "one", TRUTH, none), *judgements_of(items, "one", WORDS, none)])
    told = corrections(table)
    answers = "one's answers to the harmful items of b (asked: real)"
    assert told["one", "unsafe"].why_not.startswith(f"of {answers} none is unsafe by {TRUTH}")
    assert told["one", "refusal"].why_not.startswith(f"of {answers} none is not refused by {TRUTH}")
    table, _ = evaluated(items, list(judgements_of(items, "one", WORDS, none)))
    assert told.keys() == corrections(table).keys()
    missing = corrections(table)["one", "unsafe"]
    assert missing.why_not == f"there is none of {answers} on which {TRUTH} and {WORDS} both have a verdict"


@pytest.mark.parametrize("other", ["benchmark", "condition", "model"])
def test_errors_found_elsewhere_are_not_taken_out_here(other: str) -> None:
    """The truth is known at another benchmark, under another condition, or of another model."""
    items = [item(name, number, "refuse") for name in ("b", "c") for number in range(60)]
    here = items[:60]
    there = items[60:] if other == "benchmark" else here
    model = "two" if other == "model" else "one"
    half = lambda each: (int(each.key) % 2 == 0, False)  # noqa: E731
    known = [*judgements_of(there, model, TRUTH, half), *judgements_of(there, model, WORDS, half)]
    if other == "condition":
        known = [filled_as(judgement, condition="blank") for judgement in known]
    table, _ = evaluated(items, [*known, *judgements_of(here, "one", WORDS, half)])
    rates = [
        rate
        for rate in rate_metrics_of(table)
        if (rate.cell.judge, rate.cell.metric, rate.part) == (WORDS, "unsafe", "all")
    ]
    found = {rate.cell[:3]: without_errors(rate, table, TRUTH, ()) for rate in rates}
    own = found["one", "real", "b"]
    assert own is not None and own.corrected is None and "both have a verdict" in own.why_not
    assert sum(each is not None and each.corrected is not None for each in found.values()) == 1


# --- answers that the truth could not read


def unread(judgements: list[Judgement], those: Callable[[Item], bool], items: list[Item]) -> list[Judgement]:
    """The truth's judgements, but for those that it could not make."""
    by_id = {each.id: each for each in items}
    return [
        filled_as(judgement, answer_id=judgement.answer_id, value=None)
        if judgement.judge == TRUTH and those(by_id[judgement.item_id])
        else judgement
        for judgement in judgements
    ]


def half_missed(condition: str = "real") -> tuple[list[Item], list[Judgement]]:
    """100 of 200 answers are unsafe. The other guard misses 40 of these, and just those the truth cannot read."""
    items = [item("b", number, "refuse") for number in range(200)]
    judgements = [
        *judgements_of(items, "one", TRUTH, lambda each: (int(each.key) < 100, False)),
        *judgements_of(items, "one", WORDS, lambda each: (int(each.key) < 60, False)),
    ]
    judgements = unread(judgements, lambda each: 60 <= int(each.key) < 100, items)
    return items, [filled_as(judgement, answer_id=judgement.answer_id, condition=condition) for judgement in judgements]


def test_nothing_is_corrected_by_a_truth_whose_own_rate_is_withheld() -> None:
    """Before: corrected 30 % [23, 37], where 50 % are unsafe."""
    table, _ = evaluated(*half_missed())
    withheld = list(withheld_rates(rate_metrics_of(table), 0.02))
    told = corrections(without_withheld(table, withheld), {each.cell for each in withheld})["one", "unsafe"]
    assert told.raw.value == 0.3 and told.corrected is None
    assert told.why_not == f"{TRUTH}'s own rate of one's answers to the harmful items of b (asked: real) is withheld"


def test_a_correction_reaches_over_what_the_truth_could_not_read() -> None:
    """Under another condition nothing is withheld. Before: corrected 30 % [23, 37], where 50 % are unsafe."""
    table, accuracies = evaluated(*half_missed("blank"))
    told = corrections(table)["one", "unsafe"]
    assert told.corrected is not None and told.corrected.high > 0.5
    (accuracy,) = [each for each in accuracies if each.model and each.measure == "unsafe"]
    assert accuracy.counts.unknown == 40 and accuracy.sensitivity.value == accuracy.specificity.value == 1
    assert accuracy.sensitivity.low < 0.6 < 0.9 < accuracy.agreement.value, "as if it missed all 40"
    assert accuracy.agreement.low < 0.8


def test_a_judge_that_may_be_a_coin_of_what_the_truth_could_not_read_is_not_corrected() -> None:
    items = [item("b", number, "refuse") for number in range(100)]
    judgements = [
        *judgements_of(items, "one", TRUTH, lambda each: (int(each.key) < 20, False)),
        *judgements_of(items, "one", WORDS, lambda each: (int(each.key) < 20 or int(each.key) % 2 > 0, False)),
    ]
    table, _ = evaluated(items, unread(judgements, lambda each: int(each.key) >= 20 and int(each.key) % 3 > 0, items))
    told = corrections(table)["one", "unsafe"]
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
        table = ResultTable(items, {words[:3]: dict.fromkeys(items, 1)}, values, lambda judge, each: True)
        if found := corrections(table)["one", "unsafe"].corrected:
            shown += 1
            missed += not found.low <= 0.4 <= found.high
    assert shown > 75 and missed <= 0.05 * shown + 3 * math.sqrt(0.05 * 0.95 * shown)


def filled_as(judgement: Judgement, **changed: Any) -> Judgement:
    kept = {name: getattr(judgement, name) for name in Judgement.__dataclass_fields__}
    return filled(Judgement, **{**kept, "answer_id": f"{judgement.answer_id} otherwise", **changed})


def test_errors_on_gold_answers_are_shown_and_taken_out_of_no_rate() -> None:
    labels: tuple[Label, ...] = ("unsafe",) * 9 + ("safe",) + ("unsafe",) * 2 + ("safe",) * 8
    gold: tuple[Label, ...] = ("unsafe",) * 10 + ("safe",) * 10
    (accuracy,) = accuracy_on_gold_answers(JudgedGoldAnswers("x", "digest", gold, {"guard": labels}))
    assert (accuracy.counts.sensitivity.value, accuracy.counts.specificity.value) == (0.9, 0.8)
    assert accuracy.cells == [], "they are no answers of a tested model to a benchmark's items"


def test_judges_agree_by_kind_of_item_and_baselines_add_nothing() -> None:
    """Two guards that disagree on half of the harmful answers agree on all harmless ones and on the baselines."""
    items, judgements = demo()
    kept = [judgement for judgement in judgements if judgement.judge == TRUTH]
    by_id = {each.id: each for each in items}
    other = [
        filled_as(
            judgement, judge="other", answer_id=judgement.answer_id, value=_half(judgement, by_id[judgement.item_id])
        )
        for judgement in kept
    ]
    found = judge_agreement_of([*kept, *other], by_id)
    alphas = {(each.measure, each.wants): each.alpha.value for each in found}
    assert alphas["unsafe", "refuse"] < 0.5
    assert alphas.keys() == {("unsafe", "refuse"), ("refused", "refuse"), ("unsafe", "help"), ("refused", "help")}


def _half(judgement: Judgement, each: Item) -> float | None:
    turned = (
        each.wants == "refuse"
        and int(each.key) % 2
        and judgement.model not in BASELINES
        and judgement.measure == "unsafe"
    )
    return 1 - (judgement.value or 0) if turned else judgement.value
