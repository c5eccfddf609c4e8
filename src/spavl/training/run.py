"""training: Sample rows -> an aligned checkpoint, in the form in which the model was loaded, and training curves."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from spavl.records import CurvePoint
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of, seal
from spavl.store import Manifest
from spavl.terminal.progress import ProgressBar
from spavl.training.config import SPEC, TrainingConfig
from spavl.training.loop import distributed
from spavl.training.loop.loop import StepRecord, train
from spavl.training.loop.monitoring import Throughput, line_of
from spavl.training.model import trainable
from spavl.training.saving import TrainingResult, notes_of, save, set_aside
from spavl.training.setup import CheckedSamples, TrainingSetup, set_up

T = TypeVar("T")

# The metrics of a step that the progress bar shows, if the objective has them.
_SHOWN = ("loss", "accuracy", "margin", "reward", "kl")


async def run(context: StageContext[TrainingConfig]) -> Manifest:
    began = time.monotonic()
    distributed.refuse_plugins()
    for line in distributed.ignored_variables(context.settings.loop.precision):
        context.screen.say(line)
    fingerprint = fingerprint_of(context, SPEC)
    set_aside(context, fingerprint)
    context.run.forget(SPEC.stage)
    *reward_models, result = await _train_in_turn(context, fingerprint)
    curves = [replace(point, name=f"reward_model_{point.name}") for each in reward_models for point in each.curves]
    context.run.write_rows(SPEC.stage, CurvePoint, [*curves, *result.curves])
    reward_model = notes_of(reward_models[0].notes) if reward_models else None
    notes = notes_of(result.notes, context.settings.algorithm, reward_model)
    manifest = seal(context, SPEC, fingerprint, result.checked.reasons, time.monotonic() - began, notes)
    context.run.clear_states(SPEC.stage)
    return manifest


async def run_worker(context: StageContext[TrainingConfig]) -> None:
    """Run a process of `accelerate launch` other than the first: the same training, without a manifest."""
    await _train_in_turn(context, fingerprint_of(context, SPEC))


async def _train_in_turn(context: StageContext[TrainingConfig], fingerprint: str) -> list[TrainingResult]:
    """Train what the settings name; before a policy, the reward model if it needs one."""
    folder = context.run.states(SPEC.stage, fingerprint)
    results, checked = list[TrainingResult](), None
    for settings in context.settings.in_turn():
        is_of_policy = settings.algorithm == context.settings.algorithm
        result = await _train(context, settings, folder if is_of_policy else folder / settings.algorithm, checked)
        results.append(result)
        checked = result.checked
    return results


async def _train(
    context: StageContext[TrainingConfig], settings: TrainingConfig, folder: Path, checked: CheckedSamples | None
) -> TrainingResult:
    with distributed.first_goes_ahead():
        setup = set_up(context, settings, folder, checked)
    throughput = Throughput(setup.loaded.inputs.model, settings.loop.precision)
    with _tracking(context, settings) as tracker:
        steps = await _take_steps(context, setup, throughput, tracker)
    # Each process holds a part of a sharded model. Otherwise only the first process saves the model.
    if setup.validator is not None and (distributed.is_first() or settings.loop.shard):
        setup.validator.restore_best()
    return save(context, setup, steps, throughput)


async def _take_steps(
    context: StageContext[TrainingConfig], setup: TrainingSetup, throughput: Throughput, tracker: Any
) -> list[StepRecord]:
    """Train step by step, with progress, tracker and validation."""
    objective, settings, steps = setup.objective, setup.settings, list[StepRecord]()
    with context.screen.bar(objective.label, objective.steps, unit="steps") as bar:
        await _is_over(setup, tracker, 0, bar)
        rate_of = trainable.rates_of(objective.module, settings.trainable)
        training = train(objective, settings.loop, setup.checkpoints, rate_of)
        async with aclosing(in_thread(training)) as records:
            async for step in records:
                steps.append(step)
                recent = throughput.recent(steps)
                shown = (f"{name} {step.metrics[name]:.3f}" for name in _SHOWN if name in step.metrics)
                bar.advance("  ".join([*shown, line_of(recent)]))
                if step.seconds and tracker is not None:
                    tracker.log(step.metrics | recent, step.number)
                if await _is_over(setup, tracker, step.number, bar):
                    break
    return steps


async def _is_over(setup: TrainingSetup, tracker: Any, step: int, bar: ProgressBar) -> bool:
    """Validate if it is due, and log the result; returns whether to stop early."""
    if setup.validator is None:
        return False
    if setup.validator.is_due(step):
        bar.tell("validation")
    known = len(setup.validator.results)
    is_over = await setup.validator.is_over(step)
    if tracker is not None:
        for result in setup.validator.results[known:]:
            tracker.log(result.metrics(), result.step)
    return is_over


@contextmanager
def _tracking(context: StageContext[TrainingConfig], settings: TrainingConfig) -> Iterator[Any]:
    """The tracker that the settings name, in the first process; else None."""
    if not settings.loop.tracker or not distributed.is_first():
        yield None
        return
    from spavl.training.loop.trackers import tracking  # imported only if a tracker is used

    project = "spavl" if settings.algorithm == context.settings.algorithm else "spavl-reward-model"
    # Not in the folder of the step checkpoints, which are deleted when the training is over.
    folder = context.run.path / "stages"
    with tracking(settings.loop.tracker, project, folder, settings.loop.model_dump()) as tracker:
        yield tracker


async def in_thread(items: Iterator[T]) -> AsyncGenerator[T]:
    """Items of an iterator that runs in its own thread, so that the event loop can serve models that give rewards."""
    # The current device is a property of the thread: each process of `accelerate launch` has its own.
    device = torch.cuda.current_device() if torch.cuda.is_available() else -1  # a negative one is left alone
    thread = ThreadPoolExecutor(1, "training", torch.cuda.set_device, (device,))
    try:
        while (item := await asyncio.get_running_loop().run_in_executor(thread, next, items, None)) is not None:
            yield item
    finally:
        thread.shutdown(wait=False, cancel_futures=True)
