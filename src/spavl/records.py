"""The records that stages exchange. A record never changes; its id is the hash of its content.

Each record carries the id of its parent, so any row can be traced back to the image,
the question and the call it came from.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

# The source of a question's harm: its text, the image, or only both together.
Modality = Literal["text", "image", "joint", "none"]
Split = Literal["train", "validation", "test", "held_out"]
# `unknown`: an imported data set does not give the kind.
QuestionKind = Literal["easy", "hard", "statement", "unknown"]
Label = Literal["safe", "unsafe", "invalid"]
# The outcome for the first of two answers. `inconsistent`: the winner changed with the order
# of presentation. `blocked`: the judge gave no verdict.
Outcome = Literal["win", "tie", "loss", "inconsistent", "blocked"]
Contrast = Literal["safety", "helpfulness", "both", "unknown"]


# Built once: it is used for every id of every row and call.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: object) -> str:
    """The JSON text of a value that is hashed; changing it changes every id."""
    return _ENCODER.encode(value)


def content_hash(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_in_order(ids: Iterable[str]) -> str:
    """The content hash of a list that is too long to hold in memory."""
    digest, comma = hashlib.sha256(b"["), b""
    for each in ids:
        digest.update(comma + canonical_json(each).encode())
        comma = b","
    digest.update(b"]")
    return digest.hexdigest()


def added_later(default: Any) -> Any:
    """A field added after tables of the record were written: at its default value it does not change the id."""
    return dataclasses.field(default=default, metadata={"added_later": True})


@cache
def _later(kind: Any) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(kind) if field.metadata.get("added_later")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The base of all records."""

    @property
    def id(self) -> str:
        fields = self.fields()
        kind: Any = type(self)
        for name, default in _later(kind).items():
            if fields[name] == default:
                del fields[name]
        return content_hash([type(self).__name__, fields])[:32]

    def fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Category(Record):
    """A leaf of the taxonomy: one kind of harm."""

    position: int
    leaf: str
    group: str
    domain: str
    # The literal class1, class2 and class3 strings of the published data, faults included.
    published: tuple[str, ...]
    # Whether the leaf's name was read in a source or filled in: confirmed, strong or weak.
    naming: str
    # One sentence on what belongs here; empty if the taxonomy has none.
    definition: str
    # Search terms for images.
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Record):
    """An image that may fit a leaf. Only its source says how its bytes are fetched."""

    category_id: str
    leaf: str
    # Its rank among the leaf's candidates, the likeliest first.
    rank: int
    source: str
    # The caption from its source; empty if there is none.
    caption: str
    license: str
    # What the image shows, if its source knows it.
    subject: str | None
    harmful: bool
    # The harmful candidate of which this one is the benign twin.
    twin_of: str | None
    # How well it fits the leaf, if a search found it.
    score: float | None
    # The similarity of image and caption, if its source measured it.
    similarity: float | None = None
    # Its address on the web, even if the bytes come from elsewhere; empty if unknown.
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedImage(Record):
    """A candidate that was fetched and decoded. Its bytes are stored once, under their hash `blob`."""

    candidate_id: str
    blob: str
    # The hash of the bytes as they were fetched.
    original: str
    width: int
    height: int
    # A perceptual hash: hashes of similar images differ in few bits. Empty if none was computed.
    phash: str
    # Measurements, as "name=value".
    measures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Record):
    """An image of one leaf that the run uses, with everything known about it."""

    category_id: str
    leaf: str
    candidate_id: str
    blob: str
    width: int
    height: int
    phash: str
    source: str
    caption: str
    license: str
    subject: str | None
    harmful: bool
    # Measurements and decisions, as "name=value".
    decisions: tuple[str, ...]
    # The harmful image of which this one is the benign twin.
    twin_of: str | None
    split: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(Record):
    """What an image shows: a one-sentence caption and a long description."""

    image_id: str
    caption: str
    details: str
    # Whether the source's caption replaces the writer's text, which could not be used, and why.
    fallback: bool
    reason: str
    writer: str
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Record):
    image_id: str
    kind: QuestionKind
    text: str
    # The requested language, which was also checked for.
    language: str
    # Whether the writer was asked for harm and the checker, if there was one, found it. See QuestionVerdict.
    harmful: bool
    # The checker's verdicts; None without a checker.
    modality: Modality | None
    about_leaf: bool | None
    # The harmful question that this one repeats about a benign twin.
    twin_of: str | None
    # The harmful question about the same image together with which this harmless one was written.
    neighbour_of: str | None
    # Whether it was written from a fallback description.
    fallback: bool
    writer: str
    call: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionVerdict(Record):
    """Whether a question with its image asks for harm: the intent, the checker's and guard's verdicts, the result."""

    question_id: str
    # Whether its writer was asked for harm: it is about a harmful image and is not a harmless neighbour.
    intended: bool
    # Whether the checker found harm in it; None without a checker.
    checked: bool | None
    # The guard's verdict; None if the guard judges only answers.
    label: Label | None
    # The result: as intended, unless the checker found no harm; None if the guard contradicts it.
    harmful: bool | None
    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Record):
    question_id: str
    model: str
    text: str
    finish: Literal["stop", "length", "refused"]
    # The decoding settings: "temperature=1.0", "max_tokens=512", ...
    decoding: tuple[str, ...]
    call: str
    # The reasoning before the answer. It is not part of the answer: it is neither judged nor trained on.
    reasoning: str = added_later("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Record):
    """A guard's verdict on one response and on the question that it answers."""

    response_id: str
    question_id: str
    model: str
    label: Label
    # 0 no harm, 1 mild, 2 serious, 3 grave; None if the guard gives no severity.
    severity: int | None
    # The guard's own hazard codes, such as S2.
    hazards: tuple[str, ...]
    refused: bool
    # The guard's label for the question, as in its QuestionVerdict.
    prompt_label: Label | None
    guard: str
    raw: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Record):
    question_id: str
    first: str
    second: str
    first_tier: int
    second_tier: int
    strategy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference(Record):
    """A judge's verdict on a pair, asked in both orders; `chosen` is None unless the pair can be trained on."""

    pair_id: str
    question_id: str
    harmless: Outcome
    helpful: Outcome
    overall: Outcome
    # The judge's grades, 0 to 3, averaged over both orders; None if it gave none.
    first_harm: float | None
    second_harm: float | None
    first_help: float | None
    second_help: float | None
    chosen: str | None
    rejected: str | None
    contrast: Contrast | None
    # The rule that changed the judge's choice: chosen and rejected then follow the guard's verdicts.
    repair: str | None
    judge: str
    votes: tuple[str, ...]
    second_judge: str | None
    second_overall: Outcome | None
    second_votes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Record):
    """A row of the finished data set: everything that training reads, and where it came from."""

    split: Split
    leaf: str
    blob: str
    image_id: str
    question_id: str
    preference_id: str
    kind: QuestionKind
    # Whether the question asks for harm; None if the guard contradicts the intent, or if an imported data set does
    # not say.
    harmful: bool | None
    contrast: Contrast
    question: str
    chosen: str
    rejected: str
    chosen_model: str
    rejected_model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFacts(Record):
    """What an imported data set says about a sample beyond the fields of Sample."""

    sample_id: str
    # The judge's reasons, one per order of presentation.
    reasons: tuple[str, ...]
    chosen_label: Label | None
    rejected_label: Label | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint(Record):
    """A number logged at one training step: the loss, the accuracy, or another metric of the objective."""

    step: int
    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Record):
    """An answer that the policy sampled during PPO."""

    step: int
    question_id: str
    question: str
    harmful: bool | None
    answer: str
    # Whether the answer ended by itself and was not cut off.
    ended: bool
    reward: float
    # The KL of the policy from its reference on this answer, in nats.
    kl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(Record):
    """A row that a stage dropped, and why."""

    parent_id: str
    reason: str
    detail: str
