"""Data bias: the share of a data set's pairs by leaf, question, responder, length, language and image source."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from spavl.judges.refusal_regex import seems_refused
from spavl.records import Image, Sample
from spavl.statistics import Estimate, rate_by_cluster
from spavl.store import RunFolder
from spavl.store.typed_json import to_json
from spavl.text.language import language_of
from spavl.text.similarity import count_words

ShareOf = Literal[
    "leaf",
    "question kind",
    "question",
    "contrast",
    "chosen model",
    "rejected model",
    "chosen words",
    "rejected words",
    "longer answer",
    "refusing answer",
    "question language",
    "chosen language",
    "image source",
]
UNKNOWN, MINIATURE = "unknown", "miniature"
_LENGTHS = (10, 25, 50, 100, 200)
# Images of the web come from thousands of hosts: the rest of them is one value.
_SOURCES = 20
_OTHERS = "other sources"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairShare:
    """The share of the pairs that have a value, with its interval over images."""

    of: ShareOf
    value: str
    pairs: int
    share: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderRate:
    """How often a responder's answer is the chosen one, of the pairs in which exactly one answer is its own."""

    model: str
    chosen: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class DataBias:
    pairs: int
    images: int
    shares: tuple[PairShare, ...]
    responders: tuple[ResponderRate, ...]

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = to_json(self)
        return found


def image_sources(run: RunFolder) -> dict[str, str]:
    """The source of each image of a run, by the hash of its bytes; of many sources, the commonest."""
    found = {image.blob: place_of(image.source) for image in run.read("selection", Image)}
    most = {place for place, _ in Counter(found.values()).most_common(_SOURCES)}
    return {blob: place if place in most else _OTHERS for blob, place in found.items()}


def place_of(source: str) -> str:
    """Where an image is from, without its own name: the host, the table, or the folder."""
    parts = urlsplit(source)
    if parts.scheme in ("http", "https"):
        return parts.hostname or UNKNOWN
    if source.startswith(f"{MINIATURE}/"):
        return MINIATURE
    table, is_row, _ = source.rpartition("#")
    return (table if is_row else source.rpartition("/")[0]) or UNKNOWN


def data_bias(samples: Sequence[Sample], sources: Mapping[str, str]) -> DataBias:
    """Each image is a cluster: its pairs have the same leaf and source, and similar questions and answers."""
    blobs = [each.blob for each in samples]
    return DataBias(
        pairs=len(samples),
        images=len(set(blobs)),
        shares=tuple(_shares(samples, sources, blobs)),
        responders=tuple(_responders(samples)),
    )


def _shares(samples: Sequence[Sample], sources: Mapping[str, str], blobs: Sequence[Hashable]) -> Iterator[PairShare]:
    values: dict[ShareOf, Callable[[Sample], str]] = {
        "leaf": lambda each: each.leaf,
        "question kind": lambda each: each.kind,
        "question": lambda each: UNKNOWN if each.harmful is None else "harmful" if each.harmful else "harmless",
        "contrast": lambda each: each.contrast,
        "chosen model": lambda each: each.chosen_model or UNKNOWN,
        "rejected model": lambda each: each.rejected_model or UNKNOWN,
        "chosen words": lambda each: _length(each.chosen),
        "rejected words": lambda each: _length(each.rejected),
        "longer answer": lambda each: _which(count_words(each.chosen), count_words(each.rejected)),
        "refusing answer": lambda each: _which(seems_refused(each.chosen), seems_refused(each.rejected)),
        "question language": lambda each: language_of(each.question) or UNKNOWN,
        "chosen language": lambda each: language_of(each.chosen) or UNKNOWN,
        "image source": lambda each: sources.get(each.blob, UNKNOWN),
    }
    for of, value in values.items():
        found = [value(each) for each in samples]
        for name, number in Counter(found).most_common():
            share = rate_by_cluster([float(each == name) for each in found], blobs)
            yield PairShare(of=of, value=name, pairs=number, share=share)


def _responders(samples: Sequence[Sample]) -> Iterator[ResponderRate]:
    won: dict[str, tuple[list[float], list[str]]] = {}
    for each in samples:
        if each.chosen_model != each.rejected_model:
            for model, is_chosen in ((each.chosen_model, 1.0), (each.rejected_model, 0.0)):
                wins, blobs = won.setdefault(model or UNKNOWN, ([], []))
                wins.append(is_chosen)
                blobs.append(each.blob)
    rates = [ResponderRate(model=model, chosen=rate_by_cluster(*own)) for model, own in won.items()]
    yield from sorted(rates, key=lambda rate: (-rate.chosen.value, rate.model))


def _length(answer: str) -> str:
    words, low = count_words(answer), 0
    for most in _LENGTHS:
        if words <= most:
            return f"{low} to {most}"
        low = most + 1
    return f"over {_LENGTHS[-1]}"


def _which(chosen: float, rejected: float) -> str:
    """Which of the two has more of something."""
    return "neither more" if chosen == rejected else "chosen" if chosen > rejected else "rejected"
