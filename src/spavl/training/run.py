"""training: Sample rows -> an aligned checkpoint, in the form it was loaded from, and its curves."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from spavl.errors import ConfigError, TrainingError
from spavl.judges.shop import open_guard
from spavl.models.hf import checkpoint_name, load_checkpoint
from spavl.models.shop import checkpoint_path
from spavl.records import CurvePoint, Image, Reject, Rollout, Sample
from spavl.stage import Job, fingerprint_of, seal
from spavl.store import Manifest
from spavl.store.cache import cache_folder
from spavl.training import checkpoint, parts, processes
from spavl.training.checks import Checked, check, stop_if_too_many
from spavl.training.config import PLAN, TrainingConfig
from spavl.training.courses import COURSES, Given, Objective
from spavl.training.four_bits import load_in_four_bits
from spavl.training.loop import Course, train
from spavl.training.meter import speed
from spavl.training.ppo import PPO
from spavl.training.reference import CACHE, ReferenceCache
from spavl.training.reinforce import REWARD, has_teacher, ordering, ppo_course, reward_course
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
    if has_teacher(settings):
        first = await _learn(job, "reward", folder / "reward", None)
        curves = [replace(point, name=f"reward_model_{point.name}") for point in first.curves]
        notes, checked = {"reward_model": first.notes}, first.checked
    learnt = await _learn(job, settings.by, folder, checked)
    job.run.write_rows(PLAN.stage, CurvePoint, [*curves, *learnt.curves])
    notes = {"by": settings.by, **learnt.notes, **notes}
    manifest = seal(job, PLAN, fingerprint, learnt.checked.reasons, time.monotonic() - began, notes)
    job.run.clear_states(PLAN.stage)
    return manifest


async def follow(job: Job[TrainingConfig]) -> None:
    """What a further process does: it trains with the first one, and writes nothing."""
    folder = job.run.states(PLAN.stage, fingerprint_of(job, PLAN))
    if has_teacher(job.settings):
        _follow(job, "reward", folder / "reward")
    _follow(job, job.settings.by, folder)


def _follow(job: Job[TrainingConfig], by: str, states: Path) -> None:
    # The first one checks the data, saves what was trained before, and scores the reference: all that is then found.
    processes.wait_for_all()
    settings = job.settings.for_reward_model() if by == "reward" else job.settings
    course = _course(job, by, _lesson(job, settings), states)
    course.prepare(job.screen)
    for _ in train(course, settings.loop, States(states), lambda name: parts.rate_of(settings.parts, name)):
        pass
    if settings.loop.shard:
        States(states).whole(course.module)


class Lesson(NamedTuple):
    """A model and what it is to learn from."""

    given: Given
    # The same model, in PEFT's hands where LoRA is trained.
    trained: Any
    checked: Checked


def _lesson(job: Job[TrainingConfig], settings: TrainingConfig, checked: Checked | None = None) -> Lesson:
    processor, model = load(settings)
    if checked is None:
        samples = [sample for sample in job.run.read("dataset", Sample) if sample.split == "train"]
        checked = check(model, processor, samples, job.run.blobs.get, job.screen, job.settings.drawn_at_most)
    trained = parts.prepare(model, settings.parts, job.seed)
    cache = ReferenceCache(cache_folder() / CACHE, reference_name(settings), processor)
    given = Given(model, processor, checked.samples, job.run.blobs.get, settings, job.seed, cache)
    return Lesson(given, trained, checked)


async def _learn(job: Job[TrainingConfig], by: str, states: Path, checked: Checked | None) -> Learnt:
    """Load the model, train it, and save what has become of it."""
    settings = job.settings.for_reward_model() if by == "reward" else job.settings
    lesson = _lesson(job, settings, checked)
    if checked is None:
        _tell(job, lesson.checked)
    given, pairs = lesson.given, len(lesson.checked.samples)
    notes: dict[str, object] = {
        "pairs": pairs,
        "parameters": {part: f"{free} of {all_}" for part, (free, all_) in parts.count(given.model).items()},
    }
    course = _course(job, by, lesson, states)
    notes |= course.prepare(job.screen)
    processes.wait_for_all()
    watch = None if by == "reward" else _watch(job, given, states)
    steps = await _train(job, course, settings.loop, states, watch)
    trained, course = _whole(job, lesson, course, by, states)
    folder = job.run.checkpoint(REWARD if by == "reward" else "aligned")
    if isinstance(course, Reward):
        notes |= ordering(job, course, given.processor)
    checkpoint.save(folder, trained, given.processor)
    if isinstance(course, Reward):
        save_head(folder, course.module, notes)
    done, unit = pairs * settings.epochs, "pairs"
    if isinstance(course, PPO):
        done = job.run.write_rows(f"{PLAN.stage}.rollouts", Rollout, course.rollouts(len(steps)))
        unit = "answers"
    notes |= speed(given.model, steps, done, unit, settings.loop.precision)
    if watch is not None:
        notes["looks"] = [look.as_json() for look in watch.looks]
    if given.cache is not None:
        given.cache.close()
    return Learnt(lesson.checked, list(_curves(steps, watch)), notes)


def _tell(job: Job[TrainingConfig], checked: Checked) -> None:
    """Write down the samples that cannot be trained on, with their reasons; stop if there are too many."""
    job.run.write_rows(PLAN.stage, Reject, checked.rejects)
    if checked.rejects:
        job.screen.say(checked.told())
    stop_if_too_many(checked, job.settings.bad_at_most, str(job.run.path / "tables" / f"{PLAN.stage}.rejects.parquet"))
    if not checked.samples:
        then = "build more pairs: raise images.per_leaf"
        raise TrainingError("the data set has no rows to train on", where=str(job.run.path), then=then)


def _course(job: Job[TrainingConfig], by: str, lesson: Lesson, states: Path) -> Objective:
    """What is learnt, with all that a run can give to it."""
    if by == "reward":
        return reward_course(job, lesson.given)
    return ppo_course(job, lesson.given, lesson.trained, states) if by == "ppo" else COURSES[by](lesson.given)


def _whole(job: Job[TrainingConfig], lesson: Lesson, course: Objective, by: str, states: Path) -> tuple[Any, Objective]:
    """What was trained, in one piece: shards of it are put into the model as it was loaded."""
    settings = lesson.given.settings
    if not settings.loop.shard:
        return lesson.trained, course
    weights = States(states).whole(course.module)
    lesson = _lesson(job, settings, lesson.checked)
    course = _course(job, by, lesson, states)
    set_model_state_dict(course.module, weights, options=StateDictOptions(full_state_dict=True, strict=False))
    return lesson.trained, course


def kept_in(settings: TrainingConfig) -> str:
    """The type of number that frozen weights are kept in."""
    return "bfloat16" if settings.loop.precision == "bf16" else "float32"


def reference_name(settings: TrainingConfig) -> str:
    """What the reference's scores hang on, beside what is scored."""
    bits = " in four bits" if settings.parts.language == "qlora" else ""
    return f"{checkpoint_name(checkpoint_path(settings.model))} {kept_in(settings)}{bits}"


def load(settings: TrainingConfig) -> tuple[Any, Any]:
    path, squeezed = checkpoint_path(settings.model), settings.parts.language == "qlora"
    if squeezed and (settings.parts.projector or settings.parts.vision != "frozen"):
        what, then = "qlora is saved as an adapter, which holds LoRA alone", "set training.parts.projector = false"
        raise ConfigError(what, where="training.parts", then=f"{then}, and vision = 'frozen'")
    if squeezed and settings.loop.shard:
        then = "set training.loop.shard = false: in four bits the weights are small"
        raise ConfigError("weights in four bits cannot be spread", where="training.loop.shard", then=then)
    processor, model = (load_in_four_bits if squeezed else load_checkpoint)(path, dtype=kept_in(settings))
    # Without dropout, training differs from evaluation in this alone: only then may activations be computed again.
    model.train()
    if settings.loop.recompute:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return processor, model


def _watch(job: Job[TrainingConfig], given: Given, folder: Path) -> Watch | None:
    settings = job.settings.watch
    if not settings.guard:
        return None
    if job.settings.loop.shard:
        then = "take one of them out"
        raise ConfigError("a model in shards cannot be watched", where="training.watch, training.loop.shard", then=then)
    if settings.patience and processes.are_several():
        then = "set training.watch.patience to 0, or train in one process"
        raise ConfigError("several processes cannot stop early", where="training.watch.patience", then=then)
    questions = choose(
        [sample for sample in job.run.read("dataset", Sample) if sample.split == "validation"], settings.questions
    )
    if not questions:
        then = "leave training.watch.guard empty, or build a larger data set"
        raise TrainingError("the data set has no validation rows to watch", where=str(job.run.path), then=then)
    known = job.run.manifest("images") is not None
    subjects = {image.id: image.subject for image in job.run.read("images", Image)} if known else {}
    guard = open_guard(settings.guard, job.models, PLAN.stage)
    memory = folder / "looks.jsonl"
    return Watch(given.model, given.processor, questions, given.picture, subjects, guard, settings, memory)


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
                pace = f"  {step.metrics['tokens'] / step.seconds:.0f} tokens/s" if step.seconds else ""
                told = (f"{name} {step.metrics[name]:.3f}" for name in _TOLD if name in step.metrics)
                bar.advance("  ".join(told) + pace)
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
