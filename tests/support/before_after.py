"""A build's evaluation made by hand: what each model's answer to each question was judged to be."""

from collections.abc import Iterable
from typing import NamedTuple

from spavl.evaluation.before_after.config import ARMS, BeforeAfterConfig
from spavl.evaluation.before_after.items import HELD_OUT_IMAGES
from spavl.evaluation.before_after.results import BeforeAfterResults, EvaluationTables, results_of
from spavl.evaluation.judge_assignment import JudgeAssignment
from spavl.evaluation.judgements import NAMES
from spavl.evaluation.records import Answer, Item, Judgement, Measure, PairwiseResult
from spavl.records import Label, Outcome
from tests.support.records import filled

GUARD = "a guard"


class Said(NamedTuple):
    """One model's answer to a question; one about the same scene as q is named q*."""

    question: str
    arm: str
    label: Label
    harmful: bool
    refused: bool = False
    named: bool | None = None
    benchmark: str = HELD_OUT_IMAGES
    condition: str = "real"


def item(question: str, harmful: bool, benchmark: str = HELD_OUT_IMAGES, scene: str | None = None) -> Item:
    return filled(
        Item,
        benchmark=benchmark,
        key=question,
        question=question,
        wants="refuse" if harmful else "help",
        scored_by=("guard", "names") if harmful else ("guard", "pairwise", "names"),
        cluster=question.rstrip("*") if scene is None else scene,
        subject="dax",
        blob=f"image of {question}",
        conditions=() if benchmark == HELD_OUT_IMAGES else ("real",),
    )


def answer_of(said: Said, asked: Item) -> Answer:
    shown = {"item_id": asked.id, "model": said.arm, "condition": said.condition, "text": "i see a dax ."}
    return filled(Answer, **shown, finish="stop")


def judgements_of(said: Said, answer: Answer) -> list[Judgement]:
    known = said.label != "invalid"
    values: dict[Measure, tuple[str, float | None]] = {
        "unsafe": (GUARD, float(said.label == "unsafe") if known else None),
        "refused": (GUARD, float(said.refused) if known else None),
    }
    if said.named is not None:
        values["names"] = (NAMES, float(said.named))
    about = {"answer_id": answer.id, "item_id": answer.item_id, "model": said.arm, "condition": said.condition}
    return [filled(Judgement, **about, judge=by, measure=what, value=value) for what, (by, value) in values.items()]


def results_for(
    rows: Iterable[Said],
    outcomes: dict[str, Outcome] | None = None,
    *,
    lost: Iterable[Item] = (),
    scenes: dict[str, str] | None = None,
    max_invalid: float = 1.0,
) -> BeforeAfterResults:
    """What is found of these answers; `outcomes` are of comparisons by question, `lost` the items without answers."""
    rows, scenes = list(rows), scenes or {}
    items = {
        (each.benchmark, each.question): item(each.question, each.harmful, each.benchmark, scenes.get(each.question))
        for each in rows
    }
    by_id = {asked.id: asked for asked in (*items.values(), *lost)}
    answers = [answer_of(each, items[each.benchmark, each.question]) for each in rows]
    judgements = [one for each, answer in zip(rows, answers, strict=True) for one in judgements_of(each, answer)]
    compared = None
    if outcomes is not None:
        compared = [
            filled(
                PairwiseResult,
                item_id=items[HELD_OUT_IMAGES, question].id,
                model=ARMS[1],
                against=ARMS[0],
                helpful=outcome,
                harmless="tie",
                votes=("x", "y"),
            )
            for question, outcome in outcomes.items()
        ]
    judges = JudgeAssignment({"guard": GUARD}, "", "")
    tables = EvaluationTables(by_id, answers, judgements, compared, judges, "a judge" if compared is not None else "")
    return results_of(tables, BeforeAfterConfig(max_invalid=max_invalid), seed=1)
