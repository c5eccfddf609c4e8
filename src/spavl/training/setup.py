"""Sets up a training: its data, checked, the model, the objective, and its validation.

Every process of `accelerate launch` does this, the first one before the others. It checks the data and scores the
reference; the others find the results on disk.
A sample that does not fit is left out as a whole, with a reason. It is never repaired or truncated: a part of an
image's tokens is not an image.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from spavl.errors import ConfigError, GateError, StoreError, TrainingError
from spavl.judges.registry import open_guard
from spavl.models.backends.hf import checkpoint_name
from spavl.models.chat_template import marks_of
from spavl.models.factory import checkpoint_path
from spavl.records import Reject, Sample
from spavl.stages.context import StageContext, reject
from spavl.store.cache import cache_folder
from spavl.terminal.progress import Screen
from spavl.training.config import SPEC, TrainingConfig
from spavl.training.loop import distributed
from spavl.training.loop.loop import Checkpoints
from spavl.training.loop.monitoring import HeldOutPairs, Validator
from spavl.training.model import trainable
from spavl.training.model.anatomy import blank_image
from spavl.training.model.trainable import load
from spavl.training.objectives.dpo import REFERENCE_CACHE, ReferenceCache, reference_name
from spavl.training.objectives.notes import ModelNotes, TrainingParts
from spavl.training.objectives.registry import Objective, ObjectiveInputs, new_objective, objective_class
from spavl.training.prefix_trees.logprobs import Scorer
from spavl.training.prefix_trees.tree import Size, TokenCounter

if TYPE_CHECKING:
    from spavl.training.loop.generation_eval import GenerationEval


class CheckedSamples(NamedTuple):
    """The samples that can be trained on, the sizes of their images, and those that cannot, with the reason."""

    samples: list[Sample]
    sizes: dict[str, Size]
    rejects: list[Reject]

    @property
    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(each.reason for each in self.rejects).items()))

    def too_many(self, most: float) -> bool:
        return len(self.rejects) > most * (len(self.samples) + len(self.rejects))

    def in_words(self) -> str:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in self.reasons.items())
        total = len(self.samples) + len(self.rejects)
        return f"{len(self.rejects):,} of {total:,} samples cannot be trained on: {reasons}"


class _SampleFault(Exception):
    """Why a sample is left out: the reason and its detail."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def check_samples(
    model: Any,
    processor: Any,
    samples: Sequence[Sample],
    image: Callable[[str], bytes],
    screen: Screen,
    settings: TrainingConfig,
) -> CheckedSamples:
    """Check every sample with this model, as far as the objective of the settings reads it."""
    answers, max_sampled_tokens = objective_class(settings.algorithm).reads, settings.max_sampled_tokens
    images = _ImageSizes(image, TokenCounter(processor))
    special, most = _special_tokens(processor), _context_length(model)
    checked = CheckedSamples([], images.sizes, [])
    with screen.bar("checks", len(samples), unit="pairs") as bar:
        for sample in samples:
            try:
                _check_texts(sample, answers, special)
                _check_length(sample, answers, images, most, max_sampled_tokens)
            except _SampleFault as fault:
                checked.rejects.append(reject(sample, fault.reason, fault.detail))
            else:
                checked.samples.append(sample)
            bar.advance()
    return checked


def stop_if_too_many(checked: CheckedSamples, most: float, where: str) -> None:
    """Raise GateError if too many samples are unusable: training on the rest says nothing about the data set."""
    if checked.too_many(most):
        then = (
            f"read the reasons in {where} and correct the data set; or raise training.max_invalid_fraction ({most:g})"
        )
        raise GateError(checked.in_words(), where=where, then=then)


class _ImageSizes:
    """The sizes of images. Each image is decoded once, in full: a file may be damaged in its last line only."""

    def __init__(self, get: Callable[[str], bytes], lengths: TokenCounter) -> None:
        self._get, self.lengths = get, lengths
        self.sizes: dict[str, Size] = {}
        self._faults: dict[str, _SampleFault] = {}

    def size(self, blob: str) -> Size:
        if blob not in self.sizes and blob not in self._faults:
            try:
                self.sizes[blob] = self._measure(blob)
            except _SampleFault as fault:
                self._faults[blob] = fault
        if blob in self._faults:
            raise self._faults[blob]
        return self.sizes[blob]

    def _measure(self, blob: str) -> Size:
        try:
            data = self._get(blob)
        except StoreError as error:
            raise _SampleFault("image_missing", error.what) from None
        try:
            size = Image.open(io.BytesIO(data)).convert("RGB").size
        except Exception as error:  # a decoder fed with broken bytes may raise anything
            raise _SampleFault("image_undecodable", f"{blob[:12]}: {error}") from None
        try:
            self.lengths.spread(size)
        except ValueError as error:
            raise _SampleFault("image_refused", f"{size[0]} x {size[1]}: {error}") from None
        return size


def _check_texts(sample: Sample, answers: Sequence[str], special: re.Pattern[str]) -> None:
    for name in ("question", *answers):
        text = getattr(sample, name)
        if not text.strip():
            raise _SampleFault(f"empty_{'question' if name == 'question' else 'answer'}", name)
        if found := special.search(text):
            # It would be tokenized as a special token: one of an image that is missing, or an end token.
            raise _SampleFault("special_token", f"{found[0]} in its {name}")
    if len(answers) > 1 and sample.chosen.split() == sample.rejected.split():
        raise _SampleFault("same_answers")


def _check_length(
    sample: Sample, answers: Sequence[str], images: _ImageSizes, most: int | None, max_sampled_tokens: int
) -> None:
    size = images.size(sample.blob)
    texts = [getattr(sample, name) for name in answers]
    longest = images.lengths.longest(size, sample.question, texts, max_sampled_tokens)
    if most is not None and longest > most:
        sampled = f", with {max_sampled_tokens} for a sampled answer" if max_sampled_tokens else ""
        raise _SampleFault("too_long", f"{longest} tokens{sampled}; the model takes {most}")


def _special_tokens(processor: Any) -> re.Pattern[str]:
    marks = [getattr(processor, name, None) for name in ("image_token", "video_token", "boi_token", "eoi_token")]
    tokens = marks_of(processor) | {mark for mark in marks if isinstance(mark, str) and mark}
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)))


def _context_length(model: Any) -> int | None:
    """The context length of the model."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


class LoadedModel(NamedTuple):
    """A model, and the inputs of its objective."""

    inputs: ObjectiveInputs
    # The same model in the form in which it is saved: PEFT's if LoRA is trained.
    trained: Any
    checked: CheckedSamples


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """Everything that the steps of a training need."""

    loaded: LoadedModel
    objective: Objective[Any]
    checkpoints: Checkpoints
    validator: Validator | None
    # The notes for the manifest of the stage that are known so far.
    notes: TrainingParts

    @property
    def settings(self) -> TrainingConfig:
        return self.loaded.inputs.settings


def set_up(
    context: StageContext[TrainingConfig], settings: TrainingConfig, folder: Path, checked: CheckedSamples | None
) -> TrainingSetup:
    """Set up one training. `folder` holds the checkpoints; `checked`: samples that an earlier training has checked."""
    is_new = checked is None
    loaded = load_model(context, settings, checked)
    if is_new and distributed.is_first():
        _report_rejects(context, loaded.checked)
    model_notes = _notes_on_model(context, loaded)
    objective = objective_of(context, loaded, folder)
    notes = TrainingParts(model_notes, objective.prepare(context.screen))
    checkpoints = Checkpoints(folder, settings.loop.keep_last)
    validator = _validator(context, loaded, objective, checkpoints)
    return TrainingSetup(loaded, objective, checkpoints, validator, notes)


def load_model(
    context: StageContext[TrainingConfig], settings: TrainingConfig, checked: CheckedSamples | None
) -> LoadedModel:
    """Load the model, check the samples unless that is done, and set which parameters are trained."""
    processor, model = load(settings, context.models.trusted)
    image = context.run.blobs.get
    if checked is None:
        samples = [sample for sample in context.run.read("dataset", Sample) if sample.split == "train"]
        checked = check_samples(model, processor, samples, image, context.screen, context.settings)
    sizes = {checked.sizes[sample.blob] for sample in checked.samples}
    trained = trainable.prepare(model, settings.trainable, context.seed, partial(blank_image, processor, sizes))
    inputs = ObjectiveInputs(
        model=model,
        processor=processor,
        samples=checked.samples,
        image=image,
        settings=settings,
        seed=context.seed,
        cache=ReferenceCache(cache_folder() / REFERENCE_CACHE, reference_name(settings, model), processor),
    )
    return LoadedModel(inputs, trained, checked)


def objective_of(context: StageContext[TrainingConfig], loaded: LoadedModel, folder: Path) -> Objective[Any]:
    """The objective, with all inputs that a run has for it."""
    algorithm = objective_class(loaded.inputs.settings.algorithm)
    return new_objective(algorithm.with_run(loaded.inputs, context, loaded.trained, folder))


def _report_rejects(context: StageContext[TrainingConfig], checked: CheckedSamples) -> None:
    """Write the samples that cannot be trained on, with their reasons; stop if there are too many."""
    context.run.write_rows(SPEC.stage, Reject, checked.rejects)
    if checked.rejects:
        context.screen.say(checked.in_words())
    table = context.run.path / "tables" / f"{SPEC.stage}.rejects.parquet"
    stop_if_too_many(checked, context.settings.max_invalid_fraction, str(table))
    if not checked.samples:
        then = "build more pairs: raise selection.per_leaf"
        raise TrainingError("the data set has no rows to train on", where=str(context.run.path), then=then)


def _notes_on_model(context: StageContext[TrainingConfig], loaded: LoadedModel) -> ModelNotes:
    """Notes on which parameters are trained; prints those that stay frozen although the settings train them."""
    model, settings = loaded.inputs.model, loaded.inputs.settings
    counts = trainable.count(model)
    parameters: dict[str, str] = {part: f"{trained} of {total}" for part, (trained, total) in counts.items()}
    if unread := trainable.unread(model, settings.trainable):
        context.screen.say(trainable.unread_in_words(unread))
    if without_lora := trainable.without_lora(model) if settings.trainable.has_lora else {}:
        context.screen.say(trainable.without_lora_in_words(without_lora, model))
    return ModelNotes(
        model=checkpoint_name(checkpoint_path(settings.model)),
        pairs=len(loaded.checked.samples),
        parameters=parameters,
        unread=tuple(unread) or None,
        without_lora=without_lora or None,
    )


def _validator(
    context: StageContext[TrainingConfig], loaded: LoadedModel, objective: Objective[Any], checkpoints: Checkpoints
) -> Validator | None:
    """The validation of a training; None if no guard is named and no pairs are held out."""
    settings = loaded.inputs.settings.validation
    samples = [sample for sample in context.run.read("dataset", Sample) if sample.split == "validation"]
    if settings.guard and not samples:
        then = "leave training.validation.guard empty, or build a larger data set"
        raise TrainingError("the data set has no validation rows", where=str(context.run.path), then=then)
    held_out = _held_out_pairs(context, loaded, samples)
    if held_out is None and not settings.guard:
        if settings.patience:
            what = "patience needs a validation metric, and there is none"
            then = "set training.validation.guard, use a data set with validation rows, or set patience = 0"
            raise ConfigError(what, where="training.validation.patience", then=then)
        return None
    generation = None
    if settings.guard and distributed.is_first():
        generation = _generation_eval(context, loaded.inputs, objective, samples)
    is_sharded = loaded.inputs.settings.loop.shard
    return Validator(objective, checkpoints, settings, generation, held_out, is_sharded)


def _held_out_pairs(
    context: StageContext[TrainingConfig], loaded: LoadedModel, samples: Sequence[Sample]
) -> HeldOutPairs | None:
    """An objective with one step, which holds all validation pairs."""
    inputs, settings = loaded.inputs, loaded.inputs.settings
    usable = objective_class(settings.algorithm).validation_samples(samples, settings)
    # Ordered by their ids, which are hashes.
    first = sorted(usable, key=lambda sample: sample.id)[: settings.validation.pairs]
    fit = check_samples(inputs.model, inputs.processor, first, inputs.image, context.screen, settings).samples
    if not fit:
        return None
    one_step = settings.model_copy(update={"epochs": 1, "batch_size": len(fit)})
    held_out = loaded._replace(inputs=replace(inputs, samples=fit, settings=one_step))
    objective = objective_of(context, held_out, Path())
    if objective.unprepared_share:
        objective.prepare_step(0)
    return HeldOutPairs(objective, settings.loop.precision)


def _generation_eval(
    context: StageContext[TrainingConfig],
    inputs: ObjectiveInputs,
    objective: Objective[Any],
    samples: Sequence[Sample],
) -> "GenerationEval":
    from spavl.training.loop.generation_eval import GenerationEval, choose
    from spavl.training.objectives.judge_inputs import judge_inputs_of

    settings = inputs.settings
    module = objective.module
    if settings.loop.shard:
        # A sharded model cannot generate. At each validation its weights are loaded into a whole copy.
        _, copy = load(settings, context.models.trusted)
        trainable.prepare(copy, settings.trainable, context.seed, partial(blank_image, inputs.processor))
        module = Scorer(copy)
    generation = GenerationEval(
        module,
        module.model,
        inputs.processor,
        choose(samples, settings.validation.questions),
        inputs.image,
        judge_inputs_of(context.run, inputs.image),
        open_guard(settings.validation.guard, context.models, SPEC.stage),
        settings.validation.max_tokens,
    )
    generation.say = context.screen.say
    return generation
