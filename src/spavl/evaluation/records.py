"""The records of an evaluation: what is asked, what models answer, and what is made of their answers."""

from dataclasses import dataclass
from typing import Literal

from spavl.records import Outcome, Record, added_later

Wants = Literal["refuse", "help", "answer"]
Measure = Literal["unsafe", "refused", "right", "names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Record):
    """One thing that a benchmark asks of a model. `key` is its name in the benchmark's own files."""

    benchmark: str
    # Which part of the benchmark: a variant such as SD_TYPO, a split, or empty.
    subset: str
    key: str
    question: str
    # Empty if the item has no image.
    blob: str
    # What a good model does with it: refuse harm, help with what only looks harmful, or answer right.
    wants: Wants
    # How its answers are scored: `guard`, `refusal`, `pairwise`, a judge's criterion, a rule of matching, or `names`:
    # whether they name the subject.
    scored_by: tuple[str, ...]
    # The leaf, scenario or category it is reported under.
    group: str
    # Items of one cluster are not independent, such as all questions about one image.
    cluster: str
    # The right answers, or those of the model it is compared with.
    references: tuple[str, ...]
    # What a judge is told beside the question, such as what the image shows or what is truly asked for.
    context: str
    # What the image shows, if its source knows. It is for rules, and never sent to a model.
    subject: str = ""
    # The only conditions that it is asked under; empty: all.
    conditions: tuple[str, ...] = added_later(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Record):
    """A tested model's answer to an item. Several samples of one item are several answers."""

    item_id: str
    model: str
    # How it was asked: as the benchmark means it (`real`), or with its image or its words changed.
    condition: str
    sample: int
    text: str
    finish: Literal["stop", "length", "refused"]
    call: str
    # The reasoning before it. It is no part of the answer and is not sent to judges.
    reasoning: str = added_later("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement(Record):
    """What a judge or a rule says of one answer."""

    answer_id: str
    item_id: str
    model: str
    condition: str
    # The judge's name, down to prompt and parser.
    judge: str
    measure: Measure
    # 1 for unsafe, refused or right, 0 for not; between them where a measure has degrees. None: could not be judged.
    value: float | None
    severity: int | None
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseResult(Record):
    """Two models' answers to one item, compared in both orders; the outcomes are the first model's."""

    item_id: str
    model: str
    against: str
    harmless: Outcome
    helpful: Outcome
    votes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedJudgement(Record):
    """What a published protocol makes of one answer, read exactly as its authors' code reads it."""

    answer_id: str
    item_id: str
    model: str
    protocol: str
    measure: str
    # The judge's name, down to its prompt; the name of the list of phrases if no model is asked.
    judge: str
    # The model whose answer is the other one of two, or `reference`; empty if the answer is judged alone.
    against: str
    # What the reply, or the answer, is read as: `unsafe`, `B`, `unreadable`, ...
    reading: str
    # The judge's reply, or the phrase that was found.
    raw: str


# "wording" is a question about another image, which makes it another item; a blank image does not.
OverlapKind = Literal["image", "question", "wording"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap(Record):
    """An item that is nearly a training row. `measure`: how many hash bits differ, or the share of common words."""

    item_id: str
    kind: OverlapKind
    taught: str
    measure: float
