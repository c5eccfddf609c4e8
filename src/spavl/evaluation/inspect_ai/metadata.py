"""The metadata that spavl keeps with Inspect's samples and scores: a record for each, with its writer and reader."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inspect_ai.scorer import Score

from spavl.evaluation.benchmarks.types import BenchmarkItem
from spavl.evaluation.records import Wants


class SampleMetadata(NamedTuple):
    """The fields of an item besides input and target. `answers` are two answers to compare; None if one is missing."""

    question: str
    wants: Wants
    scored_by: Sequence[str]
    cluster: str
    context: str
    subject: str
    group: str = ""
    answers: Sequence[str | None] = ()

    @classmethod
    def of_item(cls, item: BenchmarkItem, cluster: str) -> "SampleMetadata":
        return cls(item.question, item.wants, list(item.scored_by), cluster, item.context, item.subject, item.group)

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> "SampleMetadata":
        return cls(**{name: metadata[name] for name in cls._fields if name in metadata})

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if name != "answers" or value}


class ScoreMetadata(NamedTuple):
    """What metrics are computed from: the values of an answer by metric, None if it could not be judged."""

    wants: Wants
    cluster: str
    values: Mapping[str, float | None]
    # A judge's failures are in each of its scores, because scorers cannot write to any other part of a log.
    canaries_failed: Sequence[str] = ()

    @classmethod
    def read(cls, score: Score) -> "ScoreMetadata":
        fields = score.metadata or {}
        own = {name: fields[name] for name in ("wants", "cluster", "canaries_failed") if name in fields}
        return cls(values={name: value for name, value in fields.items() if name not in own}, **own)

    def as_dict(self) -> dict[str, Any]:
        failed = {"canaries_failed": list(self.canaries_failed)} if self.canaries_failed else {}
        return {"wants": self.wants, "cluster": self.cluster, **self.values, **failed}
