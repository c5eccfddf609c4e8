"""What a model can learn by, under the names of the settings. To add one: a course, and a line here."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from spavl.errors import InternalError
from spavl.records import Sample
from spavl.terminal.progress import Screen
from spavl.training.config import TrainingConfig
from spavl.training.loop.loop import TrainingTask
from spavl.training.objectives.dpo import DPO
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.objectives.reference_cache import ReferenceCache
from spavl.training.objectives.reward import Reward
from spavl.training.objectives.sft import SFT
from spavl.training.ppo.ppo import PPO
from spavl.training.ppo.rewards import RewardInput


class ObjectiveInputs(NamedTuple):
    """All that a course is made of."""

    model: Any
    processor: Any
    samples: Sequence[Sample]
    image: Callable[[str], bytes]
    settings: TrainingConfig
    seed: int
    # Of the reference's scores; a dry run has none.
    cache: ReferenceCache | None


class Objective(TrainingTask[Any], Protocol):
    def prepare(self, screen: Screen) -> PreparationNotes:
        """Do what must be done once, before the first step; gives what the manifest should tell of it."""
        ...


def _nobody(replies: Sequence[RewardInput]) -> list[float]:
    raise InternalError("this course was made to be looked at, and nobody rewards it")


OBJECTIVES: Mapping[str, Callable[[ObjectiveInputs], Objective]] = {
    "dpo": lambda given: DPO(*given),
    "sft": lambda given: SFT(*given[:-1]),
    # Without what only a run can give: grades of harm, and somebody who rewards.
    "reward": lambda given: Reward(*given[:-1], {}),
    "ppo": lambda given: PPO(*given[:-1], _nobody, Path()),
}
