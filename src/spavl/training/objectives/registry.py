"""The training objectives by their names in the settings, with their inputs and the interface that they implement.

To add an objective:
1. Write a subclass of `Objective` in a module of its own; `objectives/sft.py` is the shortest one.
2. Add its name and its import path to `OBJECTIVES`.
3. Add the name to `TrainingConfig.algorithm`.

An objective is imported when it is used, so this module imports none of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from torch import nn

from spavl.records import Sample
from spavl.stages.context import StageContext
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from spavl.training.config import SPEC, TrainingConfig
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.microbatches import StepBatches
from spavl.training.objectives.notes import OrderingNotes, PreparationNotes

if TYPE_CHECKING:
    from spavl.training.objectives.dpo import ReferenceCache
    from spavl.training.ppo.remote_sampler import RemoteSampler
    from spavl.training.ppo.rewards import Rewarder

B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveInputs:
    """The inputs of an objective. Those with a default are added by a run, if the objective needs them."""

    model: Any
    processor: Any
    samples: Sequence[Sample]
    image: Callable[[str], bytes]
    settings: TrainingConfig
    seed: int
    # The cache of the reference's log-probabilities.
    cache: "ReferenceCache | None" = None
    # For a reward model: the difference of the grades of harm of a sample's answers, by the sample's id.
    harm_gaps: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    # For PPO: the rewarder, the folder of the rollouts, and the server that samples answers, if any.
    rewarder: "Rewarder | None" = None
    rollouts: Path = Path()
    sampler: "RemoteSampler | None" = None


class Objective(ABC, Generic[B]):
    """What a model is trained for: the micro-batches of each optimizer step, and their loss."""

    # The name of its checkpoint in the run folder, and of its progress bar.
    checkpoint: ClassVar[str] = "aligned"
    label: ClassVar[str] = SPEC.stage
    # The answers of a sample that it reads.
    reads: ClassVar[tuple[str, ...]] = ("chosen", "rejected")
    # Whether it keeps a copy of the trained weights as they were before the first step.
    copies_weights: ClassVar[bool] = False

    # What is trained. It is called with what `loss` passes on, so that it can be wrapped for several processes.
    module: nn.Module
    # The number of optimizer steps, and how many of them in a row use the same sampled answers.
    steps: int
    updates: int = 1
    # The samples of each step; None if the model itself samples the answers that it is trained on.
    step_batches: StepBatches | None = None

    @abstractmethod
    def __init__(self, inputs: ObjectiveInputs) -> None: ...

    @abstractmethod
    def microbatches(self, number: int) -> MicroBatches[B]:
        """The micro-batches of a step, a pure function of its number."""

    @abstractmethod
    def loss(self, module: Any, batch: B) -> BatchLoss: ...

    @classmethod
    def with_run(
        cls, inputs: ObjectiveInputs, context: StageContext[TrainingConfig], trained: Any, folder: Path
    ) -> ObjectiveInputs:
        """Add the inputs that only a run has. `trained` is the model in the form in which it is saved."""
        return inputs

    @classmethod
    def validation_samples(cls, samples: Sequence[Sample], settings: TrainingConfig) -> Sequence[Sample]:
        """The samples on which a validation loss can be computed."""
        return samples

    @abstractmethod
    def prepare(self, screen: Screen) -> PreparationNotes:
        """Prepare all steps, once before the first step; returns notes for the manifest."""

    @property
    def unprepared_share(self) -> float:
        """The fraction of the samples that `prepare` still has to score."""
        return 0.0

    def prepare_step(self, number: int) -> None:
        """Prepare one step only, as `prepare` does for all steps."""
        return

    def final_notes(self, context: StageContext[TrainingConfig], processor: Any) -> OrderingNotes:
        """Notes on the trained model for the manifest."""
        return OrderingNotes()

    def save_beside(self, folder: Path, notes: Mapping[str, object]) -> None:
        """Write into the checkpoint what the model's own files do not contain."""
        return

    def write_tables(self, run: RunFolder, steps: int) -> None:
        """Write tables of the steps that were taken."""
        return


OBJECTIVES: Mapping[str, str] = {
    "dpo": "spavl.training.objectives.dpo:DPO",
    "sft": "spavl.training.objectives.sft:SFT",
    "reward": "spavl.training.objectives.reward:Reward",
    "ppo": "spavl.training.ppo.ppo:PPO",
}


def objective_class(algorithm: str) -> type[Objective[Any]]:
    module, _, name = OBJECTIVES[algorithm].partition(":")
    found: type[Objective[Any]] = getattr(import_module(module), name)
    return found


def new_objective(inputs: ObjectiveInputs) -> Objective[Any]:
    """The objective that the settings name."""
    return objective_class(inputs.settings.algorithm)(inputs)
