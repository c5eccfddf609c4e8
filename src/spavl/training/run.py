"""training: Sample rows -> an aligned checkpoint, in the form it was loaded from, and its curves."""

import resource
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from spavl.errors import ConfigError, TrainingError
from spavl.judges.shop import open_guard
from spavl.models.hf import checkpoint_name, load_checkpoint
from spavl.models.shop import checkpoint_path
from spavl.records import CurvePoint, Image, Reject, Sample
from spavl.stage import Job, fingerprint_of, seal
from spavl.store import Manifest
from spavl.store.cache import cache_folder
from spavl.training import checkpoint, parts
from spavl.training.checks import Checked, check, stop_if_too_many
from spavl.training.config import PLAN, TrainingConfig
from spavl.training.courses import COURSES, Given, Objective
from spavl.training.loop import train
from spavl.training.reference import CACHE, ReferenceCache
from spavl.training.states import States, Step
from spavl.training.watch import Watch, choose

# What is told of each step while it runs, where its course has it.
_TOLD = ("loss", "accuracy", "margin")


async def run(job: Job[TrainingConfig]) -> Manifest:
    began = time.monotonic()
    fingerprint = fingerprint_of(job, PLAN)
    job.run.forget(PLAN.stage)
    processor, model = load(job.settings)
    checked = _checked(job, model, processor)
    samples = checked.samples
    trained = parts.prepare(model, job.settings.parts)
    cache = ReferenceCache(cache_folder() / CACHE, reference_name(job.settings))
    given = Given(model, processor, samples, job.run.blobs.get, job.settings, job.seed, cache)
    course = COURSES[job.settings.by](given)
    prepared = course.prepare(job.screen)
    watch = _watch(job, model, processor, job.run.states(PLAN.stage, fingerprint))
    steps = await _train(job, course, watch, fingerprint)
    cache.close()
    checkpoint.save(job.run.checkpoint("aligned"), trained, processor)
    job.run.write_rows(PLAN.stage, CurvePoint, _curves(steps, watch))
    notes = {
        "by": job.settings.by,
        "pairs": len(samples),
        "parameters": {part: f"{free} of {all_}" for part, (free, all_) in parts.count(model).items()},
        **prepared,
        **({"looks": [look.as_json() for look in watch.looks]} if watch else {}),
        **_speed(steps, len(samples) * job.settings.epochs),
    }
    manifest = seal(job, PLAN, fingerprint, checked.reasons, time.monotonic() - began, notes)
    job.run.clear_states(PLAN.stage)
    return manifest


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


async def _train(job: Job[TrainingConfig], course: Objective, watch: Watch | None, fingerprint: str) -> list[Step]:
    settings = job.settings.loop
    states = States(job.run.states(PLAN.stage, fingerprint), settings.keep_last)
    steps: list[Step] = []
    with job.screen.bar(PLAN.stage, course.steps, unit="steps") as bar:
        if watch is not None:
            await _is_over(watch, 0, course, states)
        for step in train(course, settings, states, lambda name: parts.rate_of(job.settings.parts, name)):
            steps.append(step)
            speed = f"  {step.metrics['tokens'] / step.seconds:.0f} tokens/s" if step.seconds else ""
            told = (f"{name} {step.metrics[name]:.3f}" for name in _TOLD if name in step.metrics)
            bar.advance("  ".join(told) + speed)
            if watch is not None and await _is_over(watch, step.number, course, states):
                break
    if watch is not None and job.settings.watch.patience:
        states.load_best(course.module)
    return steps


async def _is_over(watch: Watch, step: int, course: Objective, states: States) -> bool:
    if watch.is_due(step, course.steps):
        look = await watch.look(step)
        if look is watch.best(step):
            states.save_best(course.module)
        watch.remember()
    return watch.is_hopeless(step)


def _curves(steps: Sequence[Step], watch: Watch | None) -> Iterator[CurvePoint]:
    for step in steps:
        yield from (CurvePoint(step=step.number, name=name, value=value) for name, value in step.metrics.items())
    for look in watch.looks if watch else ():
        rates = {"unsafe_rate": look.unsafe_rate, "over_refusal": look.over_refusal}
        yield from (CurvePoint(step=look.step, name=name, value=rate.value) for name, rate in rates.items() if rate.n)


def _speed(steps: Sequence[Step], pairs: int) -> dict[str, object]:
    """What was measured on the way; steps of an earlier start were not."""
    timed = [step for step in steps if step.seconds]
    if not timed:
        return {}
    seconds = sum(step.seconds for step in timed)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _resident()
    return {
        "seconds_per_step": round(statistics.median(step.seconds for step in timed), 4),
        "pairs_per_second": round(pairs * len(timed) / len(steps) / seconds, 3),
        "tokens_per_second": round(sum(step.metrics["tokens"] for step in timed) / seconds, 1),
        "peak_megabytes": round(peak / 2**20),
    }


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
