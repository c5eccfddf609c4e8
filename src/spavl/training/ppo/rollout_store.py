"""Rollouts on disk: the answers sampled for a step, with rewards and scores, so that a stopped training can continue.

A rollout is one JSON file. Numbers are read back exactly.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from spavl.records import Rollout
from spavl.store import RunFolder
from spavl.store.files import write_text, writing_to


@dataclass(frozen=True, slots=True)
class RolloutAnswer:
    """A sampled answer. Its lists have one entry a token."""

    question_id: str
    question: str
    harmful: bool | None
    text: str
    tokens: tuple[int, ...]
    # Whether it ended with an end token and was not cut off.
    ended: bool
    reward: float
    logprobs: list[float]
    reference: list[float]
    values: list[float]

    @property
    def kl(self) -> float:
        """An estimate of the KL divergence from the reference, in nats."""
        return sum(self.logprobs) - sum(self.reference)


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """The answers that were sampled for one step, and the KL coefficient at that time."""

    kl_coef: float
    answers: list[RolloutAnswer]


class RolloutStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, rollout: RolloutBatch) -> None:
        write_text(self._path(number), json.dumps(asdict(rollout)) + "\n")

    def read(self, number: int) -> RolloutBatch:
        saved = json.loads(self._path(number).read_text())
        answers = [RolloutAnswer(**{**each, "tokens": tuple(each["tokens"])}) for each in saved["answers"]]
        return RolloutBatch(saved["kl_coef"], answers)

    def rows(self, steps: int, updates: int) -> Iterator[Rollout]:
        """All answers as rows of the run. A rollout is used for `updates` steps."""
        for first in range(0, steps, updates):
            for answer in self.read(first // updates).answers:
                yield Rollout(
                    step=first + 1,
                    question_id=answer.question_id,
                    question=answer.question,
                    harmful=answer.harmful,
                    answer=answer.text,
                    ended=answer.ended,
                    reward=answer.reward,
                    kl=answer.kl,
                )

    def _path(self, number: int) -> Path:
        return self._folder / f"rollout-{number:06d}.json"


def write_rollouts(run: RunFolder, stage: str, rows: Callable[[], Iterable[Rollout]]) -> None:
    """Write all sampled answers as a table of the run, and as JSON lines."""
    name = f"{stage}.rollouts"
    run.write_rows(name, Rollout, rows())
    with writing_to(run.path / "tables" / f"{name}.jsonl") as file, file.open("w", encoding="utf-8") as text:
        text.writelines(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in rows())
