"""What was drawn before a step, and how it was scored: kept on disk, so that a stopped training finds it again.

A round is one JSON file that anyone can read. Numbers come back from it bit by bit.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from spavl.records import Rollout
from spavl.store.files import write_text


@dataclass(frozen=True, slots=True)
class RolloutAnswer:
    """An answer of the policy. Its lists are as long as its tokens."""

    question_id: str
    question: str
    harmful: bool | None
    text: str
    tokens: tuple[int, ...]
    # Whether it came to its end, and was not cut off.
    ended: bool
    reward: float
    logprobs: list[float]
    reference: list[float]
    values: list[float]

    @property
    def kl(self) -> float:
        """How far it went from the reference, in nats."""
        return sum(self.logprobs) - sum(self.reference)


@dataclass(frozen=True, slots=True)
class RolloutRound:
    # The price of leaving the reference.
    coefficient: float
    answers: list[RolloutAnswer]


class RolloutStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, made: RolloutRound) -> None:
        write_text(self._path(number), json.dumps(asdict(made)) + "\n")

    def read(self, number: int) -> RolloutRound:
        kept = json.loads(self._path(number).read_text())
        answers = [RolloutAnswer(**{**each, "tokens": tuple(each["tokens"])}) for each in kept["answers"]]
        return RolloutRound(kept["coefficient"], answers)

    def rows(self, steps: int, updates: int) -> Iterator[Rollout]:
        """All answers, as rows of the run; a round serves `updates` steps."""
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
        return self._folder / f"round-{number:06d}.json"
