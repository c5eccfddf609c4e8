"""training: Sample rows -> an aligned checkpoint, in the form it was loaded from, and its curves."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from spavl.errors import ConfigError, TrainingError
from spavl.judges.registry import open_guard
from spavl.models.backends.hf import checkpoint_name, load_checkpoint
from spavl.models.factory import checkpoint_path
from spavl.records import CurvePoint, Reject, Rollout, Sample, content_hash
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of, seal
from spavl.store import Manifest
from spavl.store.cache import cache_folder
from spavl.store.files import filling, writing_to
from spavl.training.config import SPEC, TrainingConfig
from spavl.training.data_checks import CheckedSamples, check, stop_if_too_many
from spavl.training.loop import distributed
from spavl.training.loop.checkpoints import Checkpoints, StepRecord
from spavl.training.loop.generation_eval import GenerationEval, choose
from spavl.training.loop.loop import TrainingTask, train
from spavl.training.loop.precision import check_float32, use_whole_float32
from spavl.training.loop.throughput import Throughput, line_of
from spavl.training.loop.trackers import Trackers, tracking
from spavl.training.loop.validation import HeldOutPairs, Validator
from spavl.training.model import save, trainable
from spavl.training.model.anatomy import blank_image
from spavl.training.model.qlora import load_in_four_bits
from spavl.training.objectives.dpo import DPO
from spavl.training.objectives.judge_inputs import cases_of
from spavl.training.objectives.notes import ModelNotes, TrainingParts
from spavl.training.objectives.reference_cache import CACHE, ReferenceCache
from spavl.training.objectives.registry import OBJECTIVES, Objective, ObjectiveInputs
from spavl.training.objectives.reward import Reward, save_head
from spavl.training.ppo.ppo import PPO
from spavl.training.ppo.setup import REWARD, has_teacher, ordering, ppo_task, reward_task
from spavl.training.prefix_trees.attention import refuse_two_parts
from spavl.training.prefix_trees.logprobs import Scorer

T = TypeVar("T")

# What is told of each step while it runs, where its course has it.
_TOLD = ("loss", "accuracy", "margin", "reward", "kl")


class Monitors(NamedTuple):
    """What a training is seen by while it goes on."""

    meter: Throughput
    trackers: Trackers
    watch: Validator | None


class TrainingResult(NamedTuple):
    """What one objective has left behind."""

    checked: CheckedSamples
    curves: list[CurvePoint]
    notes: TrainingParts


async def run(context: StageContext[TrainingConfig]) -> Manifest:
    began = time.monotonic()
    distributed.refuse_plugins()
    for line in distributed.overruled(context.settings.loop.precision):
        context.screen.say(line)
    fingerprint = fingerprint_of(context, SPEC)
    _set_aside(context, fingerprint)
    context.run.forget(SPEC.stage)
    settings, folder = context.settings, context.run.states(SPEC.stage, fingerprint)
    curves, reward_model, checked = list[CurvePoint](), None, None
    if has_teacher(settings):
        first = await _learn(context, "reward", folder / "reward", None)
        curves = [replace(point, name=f"reward_model_{point.name}") for point in first.curves]
        reward_model, checked = first.notes.notes(), first.checked
    learnt = await _learn(context, settings.algorithm, folder, checked)
    context.run.write_rows(SPEC.stage, CurvePoint, [*curves, *learnt.curves])
    notes = learnt.notes.notes(settings.algorithm, reward_model)
    manifest = seal(context, SPEC, fingerprint, learnt.checked.reasons, time.monotonic() - began, notes)
    context.run.clear_states(SPEC.stage)
    return manifest


def _set_aside(context: StageContext[TrainingConfig], fingerprint: str) -> None:
    """Keep what a finished training of other settings has left: it may have taken days."""
    before = context.run.manifest(SPEC.stage)
    if before is None or before.fingerprint == fingerprint:
        return
    for name in ("aligned", REWARD):
        place = context.run.checkpoint(name)
        kept = place.with_name(f"{name}-{before.fingerprint[:8]}")
        if place.exists() and not kept.exists():
            place.rename(kept)
            context.screen.say(f"the checkpoint of the settings before is kept: {kept}")


async def follow(context: StageContext[TrainingConfig]) -> None:
    """What a further process does: it trains with the first one, and writes nothing."""
    folder = context.run.states(SPEC.stage, fingerprint_of(context, SPEC))
    if has_teacher(context.settings):
        await _follow(context, "reward", folder / "reward")
    await _follow(context, context.settings.algorithm, folder)


async def _follow(context: StageContext[TrainingConfig], by: str, folder: Path) -> None:
    # The first one checks the data, saves what was trained before, and scores the reference: all that is then found.
    distributed.wait_for_all()
    settings = context.settings.for_reward_model() if by == "reward" else context.settings
    lesson = _lesson(context, settings)
    task = _task(context, by, lesson, folder)
    task.prepare(context.screen)
    states = Checkpoints(folder)
    watch = _watch(context, by, lesson, task, states)
    if watch is not None:
        await watch.is_over(0)
    for step in train(task, settings.loop, states, trainable.rates_of(task.module, settings.trainable)):
        if watch is not None and await watch.is_over(step.number):
            break
    if settings.loop.shard:
        # The first one saves what all of them hold.
        if watch is not None:
            watch.restore_best()
        states.whole(task.module)


class LoadedModel(NamedTuple):
    """A model and what it is to learn from."""

    given: ObjectiveInputs
    # The same model, in PEFT's hands where LoRA is trained.
    trained: Any
    checked: CheckedSamples


def _lesson(
    context: StageContext[TrainingConfig], settings: TrainingConfig, checked: CheckedSamples | None = None
) -> LoadedModel:
    image = context.run.blobs.get
    processor, model = load(settings, context.models.trusted)
    if checked is None:
        samples = [sample for sample in context.run.read("dataset", Sample) if sample.split == "train"]
        checked = check(model, processor, samples, image, context.screen, context.settings.drawn_at_most)
    shown = {checked.sizes[sample.blob] for sample in checked.samples}
    trained = trainable.prepare(model, settings.trainable, context.seed, partial(blank_image, processor, shown))
    cache = ReferenceCache(cache_folder() / CACHE, reference_name(settings, model), processor)
    given = ObjectiveInputs(model, processor, checked.samples, image, settings, context.seed, cache)
    return LoadedModel(given, trained, checked)


async def _learn(
    context: StageContext[TrainingConfig], by: str, folder: Path, checked: CheckedSamples | None
) -> TrainingResult:
    """Load the model, train it, and save what has become of it."""
    settings = context.settings.for_reward_model() if by == "reward" else context.settings
    lesson = _lesson(context, settings, checked)
    if checked is None:
        _tell(context, lesson.checked)
    given, model = lesson.given, _about_model(context, settings, lesson)
    task = _task(context, by, lesson, folder)
    notes = TrainingParts(model, task.prepare(context.screen))
    states = Checkpoints(folder, settings.loop.keep_last)
    watch = _watch(context, by, lesson, task, states)
    distributed.wait_for_all()
    meter = Throughput(given.model, settings.loop.precision)
    project = "spavl-reward-model" if context.settings.algorithm == "ppo" and by == "reward" else "spavl"
    # Not among the states, which are taken away when the training is over.
    with tracking(settings.loop.tracker, project, context.run.path / "stages", settings.loop.model_dump()) as trackers:
        steps = await _train(context, task, settings, states, Monitors(meter, trackers, watch))
    trained, task = _whole(context, lesson, task, by, states)
    if isinstance(task, Reward):
        notes = notes._replace(ordering=ordering(context, task, given.processor))
    with filling(context.run.checkpoint(REWARD if by == "reward" else "aligned")) as place:
        save.save(place, trained, given.processor)
        if isinstance(task, Reward):
            save_head(place, task.module, notes.notes().as_json())
    if isinstance(task, PPO):
        _write_rollouts(context, task, len(steps))
    validations = [look.as_notes() for look in watch.looks] if watch is not None else None
    notes = notes._replace(speed=meter.speed(steps), validations=validations)
    if given.cache is not None:
        given.cache.close()
    return TrainingResult(lesson.checked, list(_curves(steps, watch)), notes)


def _about_model(context: StageContext[TrainingConfig], settings: TrainingConfig, lesson: LoadedModel) -> ModelNotes:
    """What is trained of the model; what is not, against its settings, is said on the screen."""
    model = lesson.given.model
    parameters: dict[str, str] = {part: f"{free} of {all_}" for part, (free, all_) in trainable.count(model).items()}
    if left := trainable.unread(model, settings.trainable):
        context.screen.say(trainable.told_of_unread(left))
    if bare := trainable.without_lora(model) if settings.trainable.has_lora else {}:
        context.screen.say(trainable.told_of_without_lora(bare, model))
    name = checkpoint_name(checkpoint_path(settings.model))
    return ModelNotes(name, len(lesson.checked.samples), parameters, tuple(left) or None, bare or None)


def _tell(context: StageContext[TrainingConfig], checked: CheckedSamples) -> None:
    """Write down the samples that cannot be trained on, with their reasons; stop if there are too many."""
    context.run.write_rows(SPEC.stage, Reject, checked.rejects)
    if checked.rejects:
        context.screen.say(checked.told())
    stop_if_too_many(
        checked,
        context.settings.max_invalid_fraction,
        str(context.run.path / "tables" / f"{SPEC.stage}.rejects.parquet"),
    )
    if not checked.samples:
        then = "build more pairs: raise selection.per_leaf"
        raise TrainingError("the data set has no rows to train on", where=str(context.run.path), then=then)


def _task(context: StageContext[TrainingConfig], by: str, lesson: LoadedModel, states: Path) -> Objective:
    """What is learnt, with all that a run can give to it."""
    if by == "reward":
        return reward_task(context, lesson.given)
    return ppo_task(context, lesson.given, lesson.trained, states) if by == "ppo" else OBJECTIVES[by](lesson.given)


def _whole(
    context: StageContext[TrainingConfig], lesson: LoadedModel, task: Objective, by: str, states: Checkpoints
) -> tuple[Any, Objective]:
    """What was trained, in one piece: shards of it are put into the model as it was loaded."""
    settings = lesson.given.settings
    if not settings.loop.shard:
        return lesson.trained, task
    weights = states.whole(task.module)
    lesson = _lesson(context, settings, lesson.checked)
    task = _task(context, by, lesson, states.folder)
    set_model_state_dict(task.module, weights, options=StateDictOptions(full_state_dict=True, strict=False))
    return lesson.trained, task


def kept_in(settings: TrainingConfig) -> str:
    """The type of number that frozen weights are kept in."""
    return "bfloat16" if settings.loop.precision == "bf16" else "float32"


def reference_name(settings: TrainingConfig, model: Any) -> str:
    """What the reference's scores hang on, beside what is scored.

    In bfloat16 that is also what is widened, since it is trained, and whether rows share: each rounds otherwise.
    """
    bits = " in four bits" if settings.trainable.language == "qlora" else ""
    name = f"{checkpoint_name(checkpoint_path(settings.model))} {kept_in(settings)}{bits}"
    if settings.loop.precision != "bf16":
        return name
    return f"{name} {content_hash([trainable.widened(model), settings.share_prefixes])}"


def load(settings: TrainingConfig, trusted: Collection[str] = ()) -> tuple[Any, Any]:
    path, squeezed = checkpoint_path(settings.model), settings.trainable.language == "qlora"
    if squeezed and (settings.trainable.projector or settings.trainable.vision != "frozen"):
        what, then = "qlora is saved as an adapter, which holds LoRA alone", "set training.trainable.projector = false"
        raise ConfigError(what, where="training.trainable", then=f"{then}, and vision = 'frozen'")
    if squeezed and settings.loop.shard:
        then = "set training.loop.shard = false: in four bits the weights are small"
        raise ConfigError("weights in four bits cannot be spread", where="training.loop.shard", then=then)
    use_whole_float32()
    loading = load_in_four_bits if squeezed else load_checkpoint
    processor, model = loading(path, dtype=kept_in(settings), trusted=trusted)
    if settings.loop.precision == "float32":
        check_float32(model.device)
    refuse_two_parts(model)
    # Without dropout, training differs from evaluation in this alone: only then may activations be computed again.
    model.train()
    if settings.loop.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return processor, model


def _watch(
    context: StageContext[TrainingConfig], by: str, lesson: LoadedModel, task: Objective, states: Checkpoints
) -> Validator | None:
    """What is looked at on the way; nothing where nobody judges and no pairs are held out."""
    given, settings = lesson.given, lesson.given.settings
    unseen = [sample for sample in context.run.read("dataset", Sample) if sample.split == "validation"]
    is_asked = bool(settings.validation.guard)
    if is_asked and not unseen:
        then = "leave training.validation.guard empty, or build a larger data set"
        raise TrainingError("the data set has no validation rows to watch", where=str(context.run.path), then=then)
    held_out = _held_out(context, by, lesson, unseen) if by != "ppo" else None
    if held_out is None and not is_asked:
        if settings.validation.patience:
            then = "name a guard, train on a data set with validation rows, or set training.validation.patience = 0"
            raise ConfigError("there is nothing to be patient about", where="training.validation.patience", then=then)
        return None
    asking = _asking(context, given, task, unseen) if is_asked and distributed.is_first() else None
    return Validator(task, states, settings.validation, asking, held_out, settings.loop.shard)


def _held_out(
    context: StageContext[TrainingConfig], by: str, lesson: LoadedModel, unseen: Sequence[Sample]
) -> HeldOutPairs | None:
    """The course of pairs that are not taught, in one step of all of them."""
    given = lesson.given
    weights, most = given.settings.dpo.weights, given.settings.validation.pairs
    weighty = [sample for sample in unseen if by != "dpo" or getattr(weights, sample.contrast)]
    few = sorted(weighty, key=lambda sample: sample.id)[:most]
    fit = check(given.model, given.processor, few, given.image, context.screen).samples
    if not fit:
        return None
    settings = given.settings.model_copy(update={"epochs": 1, "batch_size": len(fit)})
    task = _task(context, by, lesson._replace(given=given._replace(samples=fit, settings=settings)), Path())
    if isinstance(task, DPO) and task.unscored:
        task.prepare_for(0)
    return HeldOutPairs(task, settings.loop.precision)


def _asking(
    context: StageContext[TrainingConfig], given: ObjectiveInputs, task: Objective, unseen: Sequence[Sample]
) -> GenerationEval:
    settings = given.settings
    cases = cases_of(context.run, given.image)
    guard = open_guard(settings.validation.guard, context.models, SPEC.stage)
    module = task.module
    if settings.loop.shard:
        # A model in shards cannot speak. Its twin is whole, and is given its weights each time.
        _, twin = load(settings, context.models.trusted)
        trainable.prepare(twin, settings.trainable, context.seed, partial(blank_image, given.processor))
        module = Scorer(twin)
    questions = choose(unseen, settings.validation.questions)
    asked = (questions, given.image, cases, guard, settings.validation.max_tokens)
    asking = GenerationEval(module, module.model, given.processor, *asked)
    asking.say = context.screen.say
    return asking


async def _train(
    context: StageContext[TrainingConfig],
    task: TrainingTask[Any],
    settings: TrainingConfig,
    states: Checkpoints,
    seen: Monitors,
) -> list[StepRecord]:
    steps = list[StepRecord]()
    name = "reward model" if isinstance(task, Reward) else SPEC.stage
    with context.screen.bar(name, task.steps, unit="steps") as bar:
        await _is_over(seen, 0)
        going = train(task, settings.loop, states, trainable.rates_of(task.module, settings.trainable))
        async with aclosing(drawn_beside(going)) as done:
            async for step in done:
                steps.append(step)
                pace = seen.meter.pace(steps)
                told = (f"{name} {step.metrics[name]:.3f}" for name in _TOLD if name in step.metrics)
                bar.advance("  ".join([*told, line_of(pace)]))
                if step.seconds:
                    seen.trackers.log(step.metrics | pace, step.number)
                if await _is_over(seen, step.number):
                    break
    if seen.watch is not None:
        seen.watch.restore_best()
    return steps


async def _is_over(seen: Monitors, step: int) -> bool:
    if seen.watch is None:
        return False
    before = len(seen.watch.looks)
    is_over = await seen.watch.is_over(step)
    for look in seen.watch.looks[before:]:
        seen.trackers.log(look.figures(), look.step)
    return is_over


async def drawn_beside(items: Iterator[T]) -> AsyncGenerator[T]:
    """Items as they come from a thread of their own, while this loop serves models that may be asked for rewards."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="training")
    try:
        while (item := await asyncio.get_running_loop().run_in_executor(thread, next, items, None)) is not None:
            yield item
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def _write_rollouts(context: StageContext[TrainingConfig], task: PPO, steps: int) -> None:
    """All answers that were drawn, as a table and as text that anyone can read."""
    rollouts = f"{SPEC.stage}.rollouts"
    context.run.write_rows(rollouts, Rollout, task.rollouts(steps))
    with (
        writing_to(context.run.path / "tables" / f"{rollouts}.jsonl") as file,
        file.open("w", encoding="utf-8") as text,
    ):
        text.writelines(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in task.rollouts(steps))


def _curves(steps: Sequence[StepRecord], watch: Validator | None) -> Iterator[CurvePoint]:
    for step in steps:
        yield from (CurvePoint(step=step.number, name=name, value=v) for name, v in step.metrics.items())
    for look in watch.looks if watch else ():
        yield from (CurvePoint(step=look.step, name=name, value=v) for name, v in look.figures().items())
