"""A training before it is begun: what would learn, what it needs, and how long it takes. Nothing is written.

Of several processes the first one tells it for all: memory is that of one of them, time that of one alone.

Parameters and tokens are counted, on a model without weights; memory for the pass back and time are
measured, on a few real steps, if the model fits into this machine at all.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, runtime_checkable

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
from spavl.training.data_checks import CheckedSamples, check
from spavl.training.loop import distributed
from spavl.training.model import qlora, trainable
from spavl.training.model.anatomy import BLANK_SIZE, Part, blank_image
from spavl.training.objectives.gradient_noise import StepStatistics, gradients_of, likeness_of, made_of, tried
from spavl.training.objectives.microbatches import BLANK, PairedTask
from spavl.training.objectives.reference_cache import CACHE, ReferenceCache
from spavl.training.objectives.registry import OBJECTIVES, Objective, ObjectiveInputs
from spavl.training.ppo.ppo import PPO
from spavl.training.prefix_trees.attention import ModelFamily, family_of, refuse_two_parts
from spavl.training.prefix_trees.logprobs import computing_in
from spavl.training.prefix_trees.tokenize import CountedRow, TokenCount, TokenCounter
from spavl.training.run import kept_in, load, reference_name

_STEPS = 3
# AdamW keeps two numbers for each that learns.
_MOMENTS = 2


@runtime_checkable
class KnownAnswers(Objective, Protocol):
    """A course whose answers are known before it begins."""

    @property
    def step_batches(self) -> PairedTask: ...


@runtime_checkable
class NeedsPreparation(Protocol):
    """One that has something to score before it begins."""

    @property
    def unprepared(self) -> float:
        """The share of an epoch's answers that `prepare` would have to score."""
        ...

    def prepare_for(self, number: int) -> None:
        """Do for a step's answers what `prepare` does for all."""
        ...


class MemoryEstimate(NamedTuple):
    """In bytes; what only a pass can tell is missing where none was made."""

    weights: int
    gradients: int
    optimizer: int
    activations: int | None
    there: int
    # Of the pass that was measured.
    pass_tokens: int = 0

    def spread(self, processes: int) -> "MemoryEstimate":
        """What one process holds of it where the weights are in shards."""
        parts = (self.weights, self.gradients, self.optimizer)
        weights, gradients, optimizer = (-(-part // processes) for part in parts)
        return self._replace(weights=weights, gradients=gradients, optimizer=optimizer)

    @property
    def needed(self) -> int:
        return self.weights + self.gradients + self.optimizer + (self.activations or 0)

    @property
    def fitting_tokens(self) -> int | None:
        """How many tokens a pass could have here, a fifth left free: what a pass needs grows with them."""
        if not self.activations or not self.pass_tokens:
            return None
        free = self.there - self.weights - self.gradients - self.optimizer
        return max(0, int(0.8 * free / self.activations * self.pass_tokens))


class SpeedEstimate(NamedTuple):
    """What was measured on a few steps, and what it comes to for all of them."""

    device: str
    steps: int
    seconds_per_step: float
    tokens_per_second: float
    preparing: float
    training: float


class TrainingEstimate(NamedTuple):
    settings: TrainingConfig
    parameters: Mapping[Part, tuple[int, int]]
    checked: CheckedSamples
    steps: int
    family: ModelFamily
    # Of an epoch; missing where answers are not known before they are given.
    tokens: TokenCount | None
    memory: MemoryEstimate
    pace: SpeedEstimate | None
    # Of `accelerate launch`.
    processes: int = 1
    # What a step holds, where its answers are known before.
    of_step: StepStatistics | None = None
    # Of two pairs' gradients about one image, where some image has two and the model fits.
    likeness: float | None = None
    # Of experts that are stacked in one parameter, which four bits leave as they are.
    stacked: int = 0


def estimate_training(
    settings: TrainingConfig,
    samples: Sequence[Sample],
    image: Callable[[str], bytes],
    seed: int,
    screen: Screen,
    trusted: Collection[str] = (),
) -> TrainingEstimate:
    if settings.algorithm == "reward":
        settings = settings.for_reward_model()
    distributed.refuse_plugins()
    for line in distributed.overruled(settings.loop.precision):
        screen.say(line)
    processor, skeleton = _skeleton(settings, trusted)
    refuse_two_parts(skeleton)
    checked = check(skeleton, processor, samples, image, screen, settings.drawn_at_most)
    if not checked.samples:
        raise TrainingError("no sample is fit to be trained on", where=checked.told(), then="mend the data set")
    family = family_of(skeleton) if settings.share_prefixes else ModelFamily("nothing", "sharing is off")
    # By their ids, for LoRA is put round them.
    squeezed = {id(skeleton.get_submodule(name).weight) for name in trainable.linear_layers(skeleton)}
    stacked = sum(skeleton.get_parameter(name).numel() for name in trainable.stacked_layers(skeleton))
    shown = partial(blank_image, processor, {checked.sizes[sample.blob] for sample in checked.samples})
    trainable.prepare(skeleton, settings.trainable, image=shown)
    left = trainable.unread(skeleton, settings.trainable)
    bare = trainable.without_lora(skeleton) if settings.trainable.has_lora else {}
    given = ObjectiveInputs(skeleton, processor, checked.samples, image, settings, seed, None)
    cache = _cache_if_there(settings, skeleton, processor)
    task = OBJECTIVES[settings.algorithm](given._replace(cache=cache))
    if cache is not None:
        cache.close()
    tokens, of_step = None, None
    if isinstance(task, KnownAnswers):
        tokens = _count(task, checked, family, TokenCounter(processor), screen)
        of_step = made_of(map(task.step_batches.step, range(_steps_of_epoch(task))))
    memory, pace, likeness = _needed(skeleton, settings, squeezed), None, None
    counted = trainable.count(skeleton)
    if memory.needed < memory.there:
        unprepared = task.unprepared if isinstance(task, NeedsPreparation) else 0.0
        processor, model = load(settings, trusted)
        trainable.prepare(model, settings.trainable, image=shown)
        # Without weights hardly any model can be followed as a whole.
        left = trainable.unread(model, settings.trainable)
        given = given._replace(model=model, processor=processor)
        memory, pace, likeness = _measure(given, memory, tokens, unprepared)
        counted = trainable.count(model)
    _say_what_stays(left, bare, skeleton, screen)
    if settings.loop.shard:
        memory = memory.spread(distributed.how_many())
    several = distributed.how_many()
    made = (settings, counted, checked, task.steps, family, tokens, memory, pace, several, of_step, likeness)
    return TrainingEstimate(*made, stacked)


def _say_what_stays(unread: Sequence[str], bare: Mapping[str, int], model: Any, screen: Screen) -> None:
    """What learns nothing though its part is trained."""
    if unread:
        screen.say(trainable.told_of_unread(unread))
    if bare:
        screen.say(trainable.told_of_without_lora(bare, model))


def _cache_if_there(settings: TrainingConfig, model: Any, processor: Any) -> ReferenceCache | None:
    path = cache_folder() / CACHE
    return ReferenceCache(path, reference_name(settings, model), processor) if path.exists() else None


def _skeleton(settings: TrainingConfig, trusted: Collection[str]) -> tuple[Any, Any]:
    """The processor, and the model without its weights, so that one can be counted that is too large to be loaded."""
    path = checkpoint_path(settings.model)
    kind = getattr(torch, kept_in(settings))
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
    task: KnownAnswers, checked: CheckedSamples, family: ModelFamily, lengths: TokenCounter, screen: Screen
) -> TokenCount:
    """The tokens of the first epoch, step by step as they would be trained; another has them in another order."""
    sizes, total = {**checked.sizes, BLANK: BLANK_SIZE}, TokenCount(0, 0, 0, 0)
    steps = _steps_of_epoch(task)
    with screen.bar("tokens", steps, unit="steps") as bar:
        for number in range(steps):
            for answers in task.step_batches.planned(number):
                rows = (CountedRow(each.image, sizes[each.image], each.question, each.text) for each in answers)
                total = TokenCount(*(a + b for a, b in zip(total, lengths.count(rows, family.shares), strict=True)))
            bar.advance()
    return total


def _steps_of_epoch(task: KnownAnswers) -> int:
    return -(-task.steps // task.step_batches.epochs)


def _needed(model: nn.Module, settings: TrainingConfig, squeezed: Collection[int]) -> MemoryEstimate:
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = sum(parameter.numel() * parameter.element_size() for parameter in free)
    in_four_bits = squeezed if settings.trainable.language == "qlora" else ()
    weights = sum(
        each.numel() * (qlora.BYTES if id(each) in in_four_bits else each.element_size())
        for each in (*model.parameters(), *model.buffers())
    )
    # PPO keeps what it trains as it was at first, too.
    kept = gradients if settings.algorithm == "ppo" else 0
    return MemoryEstimate(int(weights) + kept, gradients, _MOMENTS * gradients, None, _there())


def _there() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _Timed(NamedTuple):
    """A step: seconds before it and in it, its tokens, and the largest pass by its bytes and tokens."""

    preparing: float
    answering: float
    training: float
    tokens: int
    kept: int
    pass_tokens: int

    def seconds(self, updates: int) -> float:
        """Answers that were drawn for several steps are shared between them."""
        return self.answering / updates + self.training


def _measure(
    given: ObjectiveInputs, memory: MemoryEstimate, tokens: TokenCount | None, unprepared: float
) -> tuple[MemoryEstimate, SpeedEstimate, float | None]:
    """Some steps over the epoch, forward and backward, with an optimizer that changes nothing; and single pairs."""
    settings = given.settings
    with TemporaryDirectory(prefix="spavl-") as folder:
        task, updates = _task(given, Path(folder))
        turns = -(-task.steps // settings.epochs // updates)
        chosen = sorted({round(place * max(0, turns - 2) / (_STEPS - 1)) * updates for place in range(_STEPS)})
        optimizer = torch.optim.AdamW((p for p in given.model.parameters() if p.requires_grad), lr=0.0, fused=True)
        warm = _step(task, chosen[0], settings, optimizer)
        told = [_step(task, number, settings, optimizer) for number in chosen]
        few = tried(task.step_batches.samples) if isinstance(task, KnownAnswers) else []
        likeness = likeness_of(gradients_of(given, few)) if few else None
    largest = max((warm, *told), key=lambda step: step.kept)
    seconds, preparing = (sum(each) for each in zip(*((t.seconds(updates), t.preparing) for t in told), strict=True))
    seen = sum(step.tokens for step in told)
    # Where its tokens are not known before, an epoch is as long as the steps that were tried.
    epoch = tokens.tokens if tokens else seen / len(told) * task.steps / settings.epochs
    cores = torch.get_num_threads()
    cpu = f"{cores} CPU threads" if cores > 1 else "one CPU thread"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    left, training = unprepared * epoch / seen * preparing, settings.epochs * epoch / seen * seconds
    pace = SpeedEstimate(device, len(told), seconds / len(told), seen / seconds, left, training)
    return memory._replace(activations=largest.kept, pass_tokens=largest.pass_tokens), pace, likeness


def _task(given: ObjectiveInputs, folder: Path) -> tuple[Objective, int]:
    """The course, and how many steps are taken on the same answers. Nobody is asked for rewards."""
    if given.settings.algorithm != "ppo":
        return OBJECTIVES[given.settings.algorithm](given), 1
    ppo = given.settings.ppo.model_copy(update={"kl_target": None})
    settings = given.settings.model_copy(update={"ppo": ppo})
    return PPO(*given._replace(settings=settings)[:-1], lambda replies: [0.0] * len(replies), folder), ppo.updates


def _step(task: Objective, number: int, settings: TrainingConfig, optimizer: torch.optim.Optimizer) -> _Timed:
    began = _now()
    if isinstance(task, NeedsPreparation):
        task.prepare_for(number)
    prepared = _now()
    passes = task.passes(number)
    answered, tokens, largest = _now(), 0, (0, 0)
    optimizer.zero_grad()
    for batch in passes:
        with _kept(task.module) as bytes_kept:
            with computing_in(settings.loop.precision, task.module.model):
                loss = task.loss(task.module, batch)
            torch.autograd.backward(loss.value)
        of_pass = int(loss.metrics["tokens"])
        tokens, largest = tokens + of_pass, max(largest, (bytes_kept(), of_pass))
    optimizer.step()
    return _Timed(prepared - began, answered - prepared, _now() - answered, tokens, *largest)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


@contextmanager
def _kept(module: nn.Module) -> Iterator[Callable[[], int]]:
    """Counts what a pass forward and back needs beside weights and gradients.

    A GPU tells its peak. Elsewhere it is what the pass forward keeps for its way back.
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    gradients = sum(each.numel() * each.element_size() for each in module.parameters() if each.requires_grad)
    found: dict[int, int] = {}

    def pack(kept: Tensor) -> Tensor:
        storage = kept.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return kept

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        yield lambda: max(0, torch.cuda.max_memory_allocated() - before - gradients)
        return
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        yield lambda: sum(found.values())
