"""training: Sample rows -> an aligned checkpoint, in the form it was loaded from, and its curves."""

import asyncio
import resource
import statistics
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from spavl.errors import ConfigError, TrainingError
from spavl.judges.shop import open_guard
from spavl.models.hf import checkpoint_name, load_checkpoint
from spavl.models.shop import checkpoint_path
from spavl.records import CurvePoint, Image, Reject, Rollout, Sample
from spavl.stage import Job, fingerprint_of, seal
from spavl.store import Manifest
from spavl.store.cache import cache_folder
from spavl.training import checkpoint, parts
from spavl.training.checks import Checked, check, stop_if_too_many
from spavl.training.config import PLAN, TrainingConfig
from spavl.training.courses import COURSES, Given
from spavl.training.loop import Course, train
from spavl.training.ppo import PPO
from spavl.training.reference import CACHE, ReferenceCache
from spavl.training.reinforce import REWARD, ordering, ppo_course, reward_course
from spavl.training.reward import Reward, save_head
from spavl.training.schedule import LoopConfig
from spavl.training.states import States, Step
from spavl.training.watch import Watch, choose

T = TypeVar("T")

# What is told of each step while it runs, where its course has it.
_TOLD = ("loss", "accuracy", "margin", "reward", "kl")


class Learnt(NamedTuple):
    """What one objective has left behind."""

    checked: Checked
    curves: list[CurvePoint]
    notes: dict[str, object]


async def run(job: Job[TrainingConfig]) -> Manifest:
    began = time.monotonic()
    fingerprint = fingerprint_of(job, PLAN)
    job.run.forget(PLAN.stage)
    settings, folder = job.settings, job.run.states(PLAN.stage, fingerprint)
    curves, notes, checked = list[CurvePoint](), dict[str, object](), None
    if settings.by == "ppo" and not settings.ppo.reward:
        first = await _learn(job, "reward", folder / "reward", None)
        curves = [replace(point, name=f"reward_model_{point.name}") for point in first.curves]
        notes, checked = {"reward_model": first.notes}, first.checked
    learnt = await _learn(job, settings.by, folder, checked)
    job.run.write_rows(PLAN.stage, CurvePoint, [*curves, *learnt.curves])
    notes = {"by": settings.by, **learnt.notes, **notes}
    manifest = seal(job, PLAN, fingerprint, learnt.checked.reasons, time.monotonic() - began, notes)
    job.run.clear_states(PLAN.stage)
    return manifest


async def _learn(job: Job[TrainingConfig], by: str, states: Path, checked: Checked | None) -> Learnt:
    """Load the model, train it, and save what has become of it."""
    settings = job.settings
    if by == "reward":
        settings = settings.model_copy(update={"loop": settings.reward.loop})
    processor, model = load(settings)
    checked = checked or _checked(job, model, processor)
    trained = parts.prepare(model, settings.parts)
    cache = ReferenceCache(cache_folder() / CACHE, reference_name(settings))
    given = Given(model, processor, checked.samples, job.run.blobs.get, settings, job.seed, cache)
    notes: dict[str, object] = {
        "pairs": len(checked.samples),
        "parameters": {part: f"{free} of {all_}" for part, (free, all_) in parts.count(model).items()},
    }
    if by == "reward":
        teacher = reward_course(job, given)
        notes |= teacher.prepare(job.screen)
        steps, watch = await _train(job, teacher, settings.loop, states), None
        speed = _speed(steps, len(checked.samples) * settings.reward.epochs, "pairs")
        notes |= ordering(job, teacher, processor)
        checkpoint.save(job.run.checkpoint(REWARD), trained, processor)
        save_head(job.run.checkpoint(REWARD), teacher.module, notes)
    else:
        course = ppo_course(job, given, states / "rounds") if by == "ppo" else COURSES[by](given)
        notes |= course.prepare(job.screen)
        watch = _watch(job, model, processor, states)
        steps = await _train(job, course, settings.loop, states, watch)
        speed = _speed(steps, len(checked.samples) * settings.epochs, "pairs")
        if isinstance(course, PPO):
            drawn = job.run.write_rows(f"{PLAN.stage}.rollouts", Rollout, course.rollouts(len(steps)))
            speed = _speed(steps, drawn, "answers")
        checkpoint.save(job.run.checkpoint("aligned"), trained, processor)
    cache.close()
    if watch is not None:
        notes["looks"] = [look.as_json() for look in watch.looks]
    notes |= speed
    return Learnt(checked, list(_curves(steps, watch)), notes)


def _checked(job: Job[TrainingConfig], model: Any, processor: Any) -> Checked:
    """The samples that can be trained on; the others are written down with their reasons."""
    samples = [sample for sample in job.run.read("dataset", Sample) if sample.split == "train"]
    checked = check(model, processor, samples, job.run.blobs.get, job.screen)
    job.run.write_rows(PLAN.stage, Reject, checked.rejects)
    if checked.rejects:
        job.screen.say(checked.told())
    stop_if_too_many(checked, job.settings.bad_at_most, str(job.run.path / "tables" / f"{PLAN.stage}.rejects.parquet"))
    if not checked.samples:
        then = "build more pairs: raise images.per_leaf"
        raise TrainingError("the data set has no rows to train on", where=str(job.run.path), then=then)
    return checked


def kept_in(settings: TrainingConfig) -> str:
    """The type of number that frozen weights are kept in."""
    return "bfloat16" if settings.loop.precision == "bf16" else "float32"


def reference_name(settings: TrainingConfig) -> str:
    """What the reference's scores hang on, beside what is scored."""
    return f"{checkpoint_name(checkpoint_path(settings.model))} {kept_in(settings)}"


def load(settings: TrainingConfig) -> tuple[Any, Any]:
    processor, model = load_checkpoint(checkpoint_path(settings.model), dtype=kept_in(settings))
    # Without dropout, training differs from evaluation in this alone: only then may activations be computed again.
    model.train()
    if settings.loop.recompute:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return processor, model


def _watch(job: Job[TrainingConfig], model: Any, processor: Any, folder: Path) -> Watch | None:
    settings = job.settings.watch
    if not settings.guard:
        return None
    if job.settings.loop.shard:
        then = "take one of them out"
        raise ConfigError("a model in shards cannot be watched", where="training.watch, training.loop.shard", then=then)
    questions = choose(
        [sample for sample in job.run.read("dataset", Sample) if sample.split == "validation"], settings.questions
    )
    if not questions:
        then = "leave training.watch.guard empty, or build a larger data set"
        raise TrainingError("the data set has no validation rows to watch", where=str(job.run.path), then=then)
    known = job.run.manifest("images") is not None
    subjects = {image.id: image.subject for image in job.run.read("images", Image)} if known else {}
    guard = open_guard(settings.guard, job.models, PLAN.stage)
    return Watch(model, processor, questions, job.run.blobs.get, subjects, guard, settings, folder / "looks.jsonl")


async def _train(
    job: Job[TrainingConfig], course: Course[Any], settings: LoopConfig, folder: Path, watch: Watch | None = None
) -> list[Step]:
    states = States(folder, settings.keep_last)
    steps: list[Step] = []
    going = train(course, settings, states, lambda name: parts.rate_of(job.settings.parts, name))
    with job.screen.bar(
        "reward model" if isinstance(course, Reward) else PLAN.stage, course.steps, unit="steps"
    ) as bar:
        if watch is not None:
            await _is_over(watch, 0, course, states)
        async with aclosing(drawn_beside(going)) as done:
            async for step in done:
                steps.append(step)
                speed = f"  {step.metrics['tokens'] / step.seconds:.0f} tokens/s" if step.seconds else ""
                told = (f"{name} {step.metrics[name]:.3f}" for name in _TOLD if name in step.metrics)
                bar.advance("  ".join(told) + speed)
                if watch is not None and await _is_over(watch, step.number, course, states):
                    break
    if watch is not None and job.settings.watch.patience:
        states.load_best(course.module)
    return steps


async def drawn_beside(items: Iterator[T]) -> AsyncGenerator[T]:
    """Items as they come from a thread of their own, while this loop serves models that may be asked for rewards."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="training")
    try:
        while (item := await asyncio.get_running_loop().run_in_executor(thread, next, items, None)) is not None:
            yield item
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


async def _is_over(watch: Watch, step: int, course: Course[Any], states: States) -> bool:
    if watch.is_due(step, course.steps):
        look = await watch.look(step)
        if look is watch.best(step):
            states.save_best(course.module)
        watch.remember()
    return watch.is_hopeless(step)


def _curves(steps: Sequence[Step], watch: Watch | None) -> Iterator[CurvePoint]:
    for step in steps:
        yield from (CurvePoint(step=step.number, name=name, value=v) for name, v in step.metrics.items())
    for look in watch.looks if watch else ():
        rates = {"unsafe_rate": look.unsafe_rate, "over_refusal": look.over_refusal}
        yield from (CurvePoint(step=look.step, name=name, value=rate.value) for name, rate in rates.items() if rate.n)


def _speed(steps: Sequence[Step], total: int, unit: str) -> dict[str, object]:
    """What was measured on the way; steps of an earlier start were not."""
    timed = [step for step in steps if step.seconds]
    if not timed:
        return {}
    seconds = sum(step.seconds for step in timed)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _resident()
    return {
        "seconds_per_step": round(statistics.median(step.seconds for step in timed), 4),
        f"{unit}_per_second": round(total * len(timed) / len(steps) / seconds, 3),
        "tokens_per_second": round(sum(step.metrics["tokens"] for step in timed) / seconds, 1),
        "peak_megabytes": round(peak / 2**20),
    }


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
