"""Saves the results of a training: the checkpoint, the curves and the notes of the manifest."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from spavl.records import CurvePoint
from spavl.stages.context import StageContext
from spavl.store.files import filling
from spavl.training.config import SPEC, TrainingConfig
from spavl.training.loop import distributed
from spavl.training.loop.loop import StepRecord
from spavl.training.loop.monitoring import Throughput, Validator
from spavl.training.model import trainable
from spavl.training.objectives.notes import TrainingNotes, TrainingParts
from spavl.training.objectives.registry import Objective
from spavl.training.setup import CheckedSamples, LoadedModel, TrainingSetup, load_model, objective_of

# The folders under checkpoints/ that a training writes.
CHECKPOINTS = ("aligned", "reward")


class TrainingResult(NamedTuple):
    """The data, the curves and the notes of one objective."""

    checked: CheckedSamples
    curves: list[CurvePoint]
    notes: TrainingParts


def set_aside(context: StageContext[TrainingConfig], fingerprint: str) -> None:
    """Rename the checkpoints of a finished training with other settings: they may have taken days."""
    before = context.run.manifest(SPEC.stage)
    if before is None or before.fingerprint == fingerprint:
        return
    for name in CHECKPOINTS:
        checkpoint = context.run.checkpoint(name)
        renamed = checkpoint.with_name(f"{name}-{before.fingerprint[:8]}")
        if checkpoint.exists() and not renamed.exists():
            checkpoint.rename(renamed)
            context.screen.say(f"the checkpoint of the earlier settings is kept: {renamed}")


def save(
    context: StageContext[TrainingConfig], setup: TrainingSetup, steps: Sequence[StepRecord], throughput: Throughput
) -> TrainingResult:
    """Save the trained model and its tables. All processes must call this; only the first one writes."""
    loaded, objective = _whole_model(context, setup)
    notes = setup.notes
    if distributed.is_first():
        notes = notes._replace(ordering=objective.final_notes(context, loaded.inputs.processor))
        with filling(context.run.checkpoint(objective.checkpoint)) as folder:
            trainable.save(folder, loaded.trained, loaded.inputs.processor)
            objective.save_beside(folder, notes_of(notes).as_json())
        objective.write_tables(context.run, len(steps))
        notes = notes._replace(speed=throughput.overall(steps))
    if setup.validator is not None:
        notes = notes._replace(validations=[result.as_notes() for result in setup.validator.results])
    if setup.loaded.inputs.cache is not None:
        setup.loaded.inputs.cache.close()
    return TrainingResult(loaded.checked, list(_curves(steps, setup.validator)), notes)


def _whole_model(context: StageContext[TrainingConfig], setup: TrainingSetup) -> tuple[LoadedModel, Objective[Any]]:
    """The trained model in one piece: the weights of a sharded one are loaded into a new one in the first process."""
    if not setup.settings.loop.shard:
        return setup.loaded, setup.objective
    weights = setup.checkpoints.whole(setup.objective.module)
    if not distributed.is_first():
        return setup.loaded, setup.objective
    loaded = load_model(context, setup.settings, setup.loaded.checked)
    objective = objective_of(context, loaded, setup.checkpoints.folder)
    set_model_state_dict(objective.module, weights, options=StateDictOptions(full_state_dict=True, strict=False))
    return loaded, objective


def _curves(steps: Sequence[StepRecord], validator: Validator | None) -> Iterator[CurvePoint]:
    for step in steps:
        yield from (CurvePoint(step=step.number, name=name, value=value) for name, value in step.metrics.items())
    for result in validator.results if validator else ():
        yield from (CurvePoint(step=result.step, name=name, value=value) for name, value in result.metrics().items())


def notes_of(
    parts: TrainingParts, algorithm: str | None = None, reward_model: TrainingNotes | None = None
) -> TrainingNotes:
    return TrainingNotes(
        algorithm=algorithm,
        **parts.model._asdict(),
        **parts.preparation._asdict(),
        **parts.ordering._asdict(),
        **parts.speed._asdict(),
        validations=None if parts.validations is None else tuple(parts.validations),
        reward_model=reward_model,
    )
