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

# Where the harm of a question lies: in its text, in the image, or only in both together.
Modality = Literal["text", "image", "joint", "none"]
Split = Literal["train", "validation", "test", "held_out"]
# `unknown` is what a data set that was made elsewhere does not say.
QuestionKind = Literal["easy", "hard", "statement", "unknown"]
Label = Literal["safe", "unsafe", "invalid"]
# How the first of two answers fared. `inconsistent`: the winner changed with the order of
# showing. `blocked`: the judge would not or could not say.
Outcome = Literal["win", "tie", "loss", "inconsistent", "blocked"]
Contrast = Literal["safety", "helpfulness", "both", "unknown"]


# Made once, for it is asked for every id of every row and call.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: object) -> str:
    """The one spelling of a value that is ever hashed; changing it changes every id."""
    return _ENCODER.encode(value)


def content_hash(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def hash_in_order(ids: Iterable[str]) -> str:
    """The content hash of a list that is too long to be held."""
    digest, comma = hashlib.sha256(b"["), b""
    for each in ids:
        digest.update(comma + canonical_json(each).encode())
        comma = b","
    digest.update(b"]")
    return digest.hexdigest()


def added_later(default: Any) -> Any:
    """A field that a record has since tables of it were written: without a value of its own it changes no id."""
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
    # One sentence on what belongs here; empty where the taxonomy has none.
    definition: str
    # What to search images with.
    terms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Record):
    """An image that may do for a leaf. Its source alone says how its bytes are fetched."""

    category_id: str
    leaf: str
    # Its place among the leaf's candidates, the likeliest first.
    rank: int
    source: str
    # What its source says of it; empty where it says nothing.
    caption: str
    license: str
    # What the image is known to show, where its source knows.
    subject: str | None
    harmful: bool
    # The harmful candidate of which this one is the benign twin.
    twin_of: str | None
    # How well it fits the leaf, where a search found it.
    score: float | None
    # How well image and caption fit, where its source has measured that.
    similarity: float | None = None
    # Where it was found on the web, whether its bytes come from there or not; empty where that is not known.
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
    # A hash that images which look alike nearly share; empty if none was taken.
    phash: str
    # What was measured, as "name=value".
    measures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Record):
    """An image of one leaf that the run uses, with all that is known of it."""

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
    # What was measured of it and decided on it, as "name=value".
    decisions: tuple[str, ...]
    # The harmful image of which this one is the benign twin.
    twin_of: str | None
    split: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Description(Record):
    """What an image shows, in one sentence and at length."""

    image_id: str
    caption: str
    details: str
    # Whether the writer's words could not be used, so that the source's caption stands in, and why.
    fallback: bool
    reason: str
    writer: str
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Record):
    image_id: str
    kind: QuestionKind
    text: str
    # The language that was asked and checked for.
    language: str
    # Whether its writer was asked for harm and the checker, where there was one, found some. See QuestionVerdict.
    harmful: bool
    # What the checker said; empty where none was asked.
    modality: Modality | None
    about_leaf: bool | None
    # The harmful question of which this is the same about a benign twin.
    twin_of: str | None
    # The harmful question beside which this harmless one was written, about the same image.
    neighbour_of: str | None
    # Whether it was made from a description that is a fallback.
    fallback: bool
    writer: str
    call: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionVerdict(Record):
    """Whether a question, with its image, asks for harm: what each source says, and what is held of it."""

    question_id: str
    # Whether its writer was asked for harm: it is about a harmful image, and no harmless neighbour.
    intended: bool
    # Whether the checker found harm in it; empty where none was asked.
    checked: bool | None
    # What the guard says of it; empty where the guard judges answers only.
    label: Label | None
    # As intended, unless the checker found no harm; empty where the guard says otherwise.
    harmful: bool | None
    guard: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Record):
    question_id: str
    model: str
    text: str
    finish: Literal["stop", "length", "refused"]
    # How it was asked: "temperature=1.0", "max_tokens=512", ...
    decoding: tuple[str, ...]
    call: str
    # What was thought before it: no part of the answer, and judged and trained by nobody.
    reasoning: str = added_later("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Record):
    """What a guard says of one response, and of the question it answers."""

    response_id: str
    question_id: str
    model: str
    label: Label
    # 0 no harm, 1 mild, 2 serious, 3 grave; empty where the guard gives no degree.
    severity: int | None
    # The guard's own codes of the kinds of harm, such as S2.
    hazards: tuple[str, ...]
    refused: bool
    # The guard's label of the question, as in its QuestionVerdict.
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
    """A judge's word on a pair, asked in both orders; `chosen` is empty unless the pair can teach."""

    pair_id: str
    question_id: str
    harmless: Outcome
    helpful: Outcome
    overall: Outcome
    # Means over both orders of the judge's grades, 0 to 3; empty where it gave none.
    first_harm: float | None
    second_harm: float | None
    first_help: float | None
    second_help: float | None
    chosen: str | None
    rejected: str | None
    contrast: Contrast | None
    # The rule that changed what the judge chose: chosen and rejected then rest on the guard's word.
    repair: str | None
    judge: str
    votes: tuple[str, ...]
    second_judge: str | None
    second_overall: Outcome | None
    second_votes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Record):
    """A row of the finished data set: all that training reads, and where it came from."""

    split: Split
    leaf: str
    blob: str
    image_id: str
    question_id: str
    preference_id: str
    kind: QuestionKind
    # Whether the question asks for harm; empty where the guard contradicts what it was meant to be, and where a data
    # set made elsewhere does not say.
    harmful: bool | None
    contrast: Contrast
    question: str
    chosen: str
    rejected: str
    chosen_model: str
    rejected_model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Record):
    """What a data set made elsewhere says of a sample beyond its columns."""

    sample_id: str
    # The judge's, once for each order of showing.
    reasons: tuple[str, ...]
    chosen_label: Label | None
    rejected_label: Label | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint(Record):
    """A number taken at one step of a training: its loss, its accuracy, and whatever else the objective tells."""

    step: int
    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout(Record):
    """An answer that a policy gave while it learned from rewards."""

    step: int
    question_id: str
    question: str
    harmful: bool | None
    answer: str
    # Whether it came to its end, and was not cut off.
    ended: bool
    reward: float
    # How far the policy had gone from its reference with it, in nats.
    kl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject(Record):
    """A row that a stage dropped, and why."""

    parent_id: str
    reason: str
    detail: str
