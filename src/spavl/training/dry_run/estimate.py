"""Estimates a training before it starts: trained parameters, tokens, memory and time. Nothing is written.

Of several processes the first one makes the estimate: memory is that of one process, time that of one process alone.

Parameters and tokens are counted on a model without weights. The memory of activations and the time are measured on a
few real steps, if the model fits into this machine.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageTextToText

from spavl.errors import TrainingError
from spavl.models.backends.hf import cannot_load, load_processor
from spavl.models.factory import checkpoint_path
from spavl.models.remote_code import opening
from spavl.records import Sample
from spavl.store.cache import cache_folder
from spavl.terminal.progress import Screen
from spavl.training.config import TrainingConfig
from spavl.training.loop import distributed
from spavl.training.model import anatomy, qlora, trainable
from spavl.training.model.anatomy import BLANK_SIZE, Part, blank_image
from spavl.training.model.trainable import frozen_dtype, load
from spavl.training.objectives.dpo import REFERENCE_CACHE, ReferenceCache, reference_name
from spavl.training.objectives.gradient_noise import (
    StepStatistics,
    gradients_of,
    noise_correlation,
    pairs_to_measure,
    step_statistics,
)
from spavl.training.objectives.microbatches import BLANK, StepBatches
from spavl.training.objectives.registry import Objective, ObjectiveInputs, new_objective, objective_class
from spavl.training.ppo.rewards import Rewarder
from spavl.training.prefix_trees.attention import ModelFamily, family_of, refuse_encoder_decoder
from spavl.training.prefix_trees.logprobs import computing_in
from spavl.training.prefix_trees.tree import CountedRow, TokenCount, TokenCounter
from spavl.training.setup import CheckedSamples, check_samples

_STEPS = 3
# AdamW keeps two moments of each trained parameter.
_MOMENTS = 2


class MemoryEstimate(NamedTuple):
    """Memory in bytes. Activations are None if no step was measured."""

    weights: int
    gradients: int
    optimizer: int
    activations: int | None
    available: int
    # Tokens of the largest micro-batch that was measured.
    measured_tokens: int = 0

    def per_process(self, processes: int) -> "MemoryEstimate":
        """The memory of one process if the weights are sharded."""
        parts = (self.weights, self.gradients, self.optimizer)
        weights, gradients, optimizer = (-(-part // processes) for part in parts)
        return self._replace(weights=weights, gradients=gradients, optimizer=optimizer)

    @property
    def bytes_needed(self) -> int:
        return self.weights + self.gradients + self.optimizer + (self.activations or 0)

    @property
    def fitting_tokens(self) -> int | None:
        """The size of a micro-batch, in tokens, that would fit with a fifth of the memory left free."""
        if not self.activations or not self.measured_tokens:
            return None
        free = self.available - self.weights - self.gradients - self.optimizer
        return max(0, int(0.8 * free / self.activations * self.measured_tokens))


class SpeedEstimate(NamedTuple):
    """Measured on a few steps, and extrapolated to all of them."""

    device: str
    steps: int
    seconds_per_step: float
    tokens_per_second: float
    # Seconds to score the reference, and for all steps.
    preparing: float
    training: float


class TrainingEstimate(NamedTuple):
    settings: TrainingConfig
    parameters: Mapping[Part, tuple[int, int]]
    checked: CheckedSamples
    steps: int
    family: ModelFamily
    # The tokens of an epoch; None if the model samples its answers itself.
    tokens: TokenCount | None
    memory: MemoryEstimate
    speed: SpeedEstimate | None
    # The number of processes of `accelerate launch`.
    processes: int = 1
    # The mean sizes of a step; None if the model samples its answers itself.
    of_step: StepStatistics | None = None
    # Between the gradients of two pairs about one image; None if no image has two pairs or the model does not fit.
    noise_correlation: float | None = None
    # Parameters of stacked experts, which are not quantized to four bits.
    stacked: int = 0


def estimate_training(
    settings: TrainingConfig,
    samples: Sequence[Sample],
    image: Callable[[str], bytes],
    seed: int,
    screen: Screen,
    trusted: Collection[str] = (),
) -> TrainingEstimate:
    settings = settings.in_turn()[-1]
    distributed.refuse_plugins()
    for line in distributed.ignored_variables(settings.loop.precision):
        screen.say(line)
    processor, skeleton = _skeleton(settings, trusted)
    refuse_encoder_decoder(skeleton)
    checked = check_samples(skeleton, processor, samples, image, screen, settings)
    if not checked.samples:
        raise TrainingError("no sample can be trained on", where=checked.in_words(), then="correct the data set")
    family = family_of(skeleton) if settings.share_prefixes else ModelFamily("nothing", "sharing is off")
    # By their ids, since LoRA changes their names.
    quantized = {id(skeleton.get_submodule(name).weight) for name in anatomy.linear_layers(skeleton)}
    stacked = sum(skeleton.get_parameter(name).numel() for name in anatomy.stacked_layers(skeleton))
    image_inputs = partial(blank_image, processor, {checked.sizes[sample.blob] for sample in checked.samples})
    trainable.prepare(skeleton, settings.trainable, image=image_inputs)
    unread = trainable.unread(skeleton, settings.trainable)
    without_lora = trainable.without_lora(skeleton) if settings.trainable.has_lora else {}
    inputs = ObjectiveInputs(
        model=skeleton, processor=processor, samples=checked.samples, image=image, settings=settings, seed=seed
    )
    objective = _objective_with_cache(inputs)
    tokens, of_step = None, None
    if objective.step_batches is not None:
        tokens = _count(objective.step_batches, checked, family, TokenCounter(processor), screen)
        of_step = step_statistics(map(objective.step_batches.step, range(objective.step_batches.steps_per_epoch)))
    memory, speed, correlation = _static_memory(skeleton, settings, quantized), None, None
    counted = trainable.count(skeleton)
    if memory.bytes_needed < memory.available:
        processor, model = load(settings, trusted)
        trainable.prepare(model, settings.trainable, image=image_inputs)
        # Few models can be traced as a whole without weights.
        unread = trainable.unread(model, settings.trainable)
        inputs = replace(inputs, model=model, processor=processor)
        memory, speed, correlation = _measure(inputs, memory, tokens, objective.unprepared_share)
        counted = trainable.count(model)
    _say_what_stays_frozen(unread, without_lora, skeleton, screen)
    if settings.loop.shard:
        memory = memory.per_process(distributed.process_count())
    return TrainingEstimate(
        settings=settings,
        parameters=counted,
        checked=checked,
        steps=objective.steps,
        family=family,
        tokens=tokens,
        memory=memory,
        speed=speed,
        processes=distributed.process_count(),
        of_step=of_step,
        noise_correlation=correlation,
        stacked=stacked,
    )


def _say_what_stays_frozen(unread: Sequence[str], without_lora: Mapping[str, int], model: Any, screen: Screen) -> None:
    """Print which parameters stay frozen although their part is trained."""
    if unread:
        screen.say(trainable.unread_in_words(unread))
    if without_lora:
        screen.say(trainable.without_lora_in_words(without_lora, model))


def _objective_with_cache(inputs: ObjectiveInputs) -> Objective[Any]:
    """The objective, with the scores of the reference that are already cached."""
    path = cache_folder() / REFERENCE_CACHE
    if not path.exists():
        return new_objective(inputs)
    cache = ReferenceCache(path, reference_name(inputs.settings, inputs.model), inputs.processor)
    try:
        return new_objective(replace(inputs, cache=cache))
    finally:
        cache.close()


def _skeleton(settings: TrainingConfig, trusted: Collection[str]) -> tuple[Any, Any]:
    """The processor, and the model without weights, so that a model can be counted that does not fit into memory."""
    path = checkpoint_path(settings.model)
    kind = getattr(torch, frozen_dtype(settings))
    processor = load_processor(path, trusted)
    try:
        place, how = opening(path, trusted)
        config = AutoConfig.from_pretrained(place, **how)
        with torch.device("meta"):
            runs_code = how["trust_remote_code"]
            return processor, AutoModelForImageTextToText.from_config(config, dtype=kind, trust_remote_code=runs_code)
    except (OSError, ValueError) as error:
        raise cannot_load(path, error) from error


def _count(
    step_batches: StepBatches, checked: CheckedSamples, family: ModelFamily, lengths: TokenCounter, screen: Screen
) -> TokenCount:
    """The tokens of the first epoch, step by step. The order differs in other epochs."""
    sizes, total = {**checked.sizes, BLANK: BLANK_SIZE}, TokenCount(0, 0, 0, 0)
    steps = step_batches.steps_per_epoch
    with screen.bar("tokens", steps, unit="steps") as bar:
        for number in range(steps):
            for answers in step_batches.answers_at(number):
                rows = (CountedRow(each.image, sizes[each.image], each.question, each.text) for each in answers)
                total = TokenCount(*(a + b for a, b in zip(total, lengths.count(rows, family.shares), strict=True)))
            bar.advance()
    return total


def _static_memory(model: nn.Module, settings: TrainingConfig, quantized: Collection[int]) -> MemoryEstimate:
    """The memory without activations."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    in_four_bits = quantized if settings.trainable.language == "qlora" else ()
    weights = sum(
        each.numel() * (qlora.BYTES if id(each) in in_four_bits else each.element_size())
        for each in (*model.parameters(), *model.buffers())
    )
    copies = gradients if objective_class(settings.algorithm).copies_weights else 0
    return MemoryEstimate(int(weights) + copies, gradients, _MOMENTS * gradients, None, _available())


def _available() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _MeasuredStep(NamedTuple):
    """A measured step: its seconds and tokens, and the bytes and tokens of its largest micro-batch."""

    # Seconds to score the reference, to sample and lay out answers, and to train.
    preparing: float
    sampling: float
    training: float
    tokens: int
    activations: int
    measured_tokens: int

    def seconds(self, updates: int) -> float:
        """The time to sample is shared by the steps that use the same answers."""
        return self.sampling / updates + self.training


def _measure(
    inputs: ObjectiveInputs, memory: MemoryEstimate, tokens: TokenCount | None, unprepared: float
) -> tuple[MemoryEstimate, SpeedEstimate, float | None]:
    """Measure some steps of the epoch, with a learning rate of 0, and the gradients of single pairs."""
    settings = inputs.settings
    with TemporaryDirectory(prefix="spavl-") as folder:
        objective = _objective_without_rewards(inputs, Path(folder))
        updates = objective.updates
        turns = -(-objective.steps // settings.epochs // updates)
        numbers = sorted({round(place * max(0, turns - 2) / (_STEPS - 1)) * updates for place in range(_STEPS)})
        optimizer = torch.optim.AdamW((p for p in inputs.model.parameters() if p.requires_grad), lr=0.0, fused=True)
        warm_up = _step(objective, numbers[0], settings, optimizer)
        steps = [_step(objective, number, settings, optimizer) for number in numbers]
        pairs = pairs_to_measure(objective.step_batches.samples) if objective.step_batches is not None else []
        correlation = noise_correlation(gradients_of(inputs, pairs)) if pairs else None
    largest = max((warm_up, *steps), key=lambda step: step.activations)
    seconds, preparing = sum(step.seconds(updates) for step in steps), sum(step.preparing for step in steps)
    measured = sum(step.tokens for step in steps)
    # If the tokens of an epoch are not known, its steps are taken to be like the measured ones.
    epoch = tokens.tokens if tokens else measured / len(steps) * objective.steps / settings.epochs
    cores = torch.get_num_threads()
    cpu = f"{cores} CPU threads" if cores > 1 else "one CPU thread"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    speed = SpeedEstimate(
        device=device,
        steps=len(steps),
        seconds_per_step=seconds / len(steps),
        tokens_per_second=measured / seconds,
        preparing=unprepared * epoch / measured * preparing,
        training=settings.epochs * epoch / measured * seconds,
    )
    memory = memory._replace(activations=largest.activations, measured_tokens=largest.measured_tokens)
    return memory, speed, correlation


def _objective_without_rewards(inputs: ObjectiveInputs, folder: Path) -> Objective[Any]:
    """The objective of a dry run: all rewards are 0, and rollouts are kept in the folder."""
    # The adaptive KL controller would read rollouts of steps that are not measured.
    ppo = inputs.settings.ppo.model_copy(update={"kl_target": None})
    settings = inputs.settings.model_copy(update={"ppo": ppo})
    rewarder: Rewarder = lambda answers: [0.0] * len(answers)  # noqa: E731
    return new_objective(replace(inputs, settings=settings, rewarder=rewarder, rollouts=folder))


def _step(
    objective: Objective[Any], number: int, settings: TrainingConfig, optimizer: torch.optim.Optimizer
) -> _MeasuredStep:
    began = _now()
    objective.prepare_step(number)
    prepared = _now()
    microbatches = objective.microbatches(number)
    sampled, tokens, largest = _now(), 0, (0, 0)
    optimizer.zero_grad()
    for batch in microbatches:
        with _activation_bytes(objective.module) as activation_bytes:
            with computing_in(settings.loop.precision, objective.module.model):
                loss = objective.loss(objective.module, batch)
            torch.autograd.backward(loss.value)
        batch_tokens = int(loss.metrics["tokens"])
        tokens, largest = tokens + batch_tokens, max(largest, (activation_bytes(), batch_tokens))
    optimizer.step()
    return _MeasuredStep(prepared - began, sampled - prepared, _now() - sampled, tokens, *largest)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


@contextmanager
def _activation_bytes(module: nn.Module) -> Iterator[Callable[[], int]]:
    """Measure the memory of a forward and a backward pass, without weights and gradients.

    On a GPU this is from its peak. Elsewhere it is what the forward pass keeps for the backward pass.
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    gradients = sum(each.numel() * each.element_size() for each in module.parameters() if each.requires_grad)
    found: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return saved

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: max(0, torch.cuda.max_memory_allocated() - before - gradients)
        return
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        yield lambda: sum(found.values())
