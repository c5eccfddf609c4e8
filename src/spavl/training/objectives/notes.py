"""The notes of a training in its manifest, in parts: one for each phase of the training."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

from spavl.stages.notes import JsonEstimate, JsonRecord, StageNotes
from spavl.statistics import Estimate


class ModelNotes(NamedTuple):
    """The model that is trained, and its parameters."""

    # With the commit, or the hash of the folder's files.
    model: str
    pairs: int
    # By part of the model: "trained of all".
    parameters: Mapping[str, str]
    # Parameters that should be trained, but that the model does not read.
    unread: tuple[str, ...] | None = None
    # Matrices of the language model without LoRA, and the number of parameters of each.
    without_lora: Mapping[str, int] | None = None


class PreparationNotes(NamedTuple):
    """What an objective prepared before the first step."""

    # DPO: pairs whose reference scores were in the cache.
    references_from_cache: int | None = None
    # SFT: the number of answers that are trained on.
    answers: int | None = None
    # PPO: the number of questions.
    questions: int | None = None


class OrderingNotes(NamedTuple):
    """The rate of pairs that a reward model ranks correctly."""

    taught_pairs_in_order: Estimate | None = None
    held_out_pairs_in_order: Estimate | None = None


class SpeedNotes(NamedTuple):
    seconds_per_step: float | None = None
    pairs_per_second: float | None = None
    answers_per_second: float | None = None
    tokens_per_second: float | None = None
    model_flops_utilisation: float | None = None
    peak_megabytes: int | None = None
    # What the utilisation is measured against.
    peak: str | None = None


class ValidationNotes(JsonRecord):
    """One validation; see `ValidationResult`."""

    step: int
    unsafe_rate: JsonEstimate
    over_refusal: JsonEstimate
    held_out: Mapping[str, float] = {}


class TrainingNotes(StageNotes):
    algorithm: str | None = None
    model: str | None = None
    pairs: int | None = None
    parameters: Mapping[str, str] = {}
    unread: tuple[str, ...] | None = None
    without_lora: Mapping[str, int] | None = None
    references_from_cache: int | None = None
    answers: int | None = None
    questions: int | None = None
    taught_pairs_in_order: JsonEstimate | None = None
    held_out_pairs_in_order: JsonEstimate | None = None
    seconds_per_step: float | None = None
    pairs_per_second: float | None = None
    answers_per_second: float | None = None
    tokens_per_second: float | None = None
    model_flops_utilisation: float | None = None
    peak_megabytes: int | None = None
    peak: str | None = None
    validations: tuple[ValidationNotes, ...] | None = None
    # The notes of the reward model that was trained before the policy.
    reward_model: Optional["TrainingNotes"] = None


class TrainingParts(NamedTuple):
    """What is known so far about a training."""

    model: ModelNotes
    preparation: PreparationNotes
    ordering: OrderingNotes = OrderingNotes()
    speed: SpeedNotes = SpeedNotes()
    validations: Sequence[ValidationNotes] | None = None
