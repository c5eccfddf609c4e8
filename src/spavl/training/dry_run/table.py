"""Prints the estimate of a training."""

from collections.abc import Iterator

from spavl.text.layout import wrapped_lines
from spavl.training.config import TrainingConfig
from spavl.training.dry_run.estimate import MemoryEstimate, SpeedEstimate, TrainingEstimate
from spavl.training.model.anatomy import Part
from spavl.training.model.trainable import frozen_dtype

_WIDTH = 12


def page(estimate: TrainingEstimate) -> Iterator[str]:
    for line in _lines(estimate):
        yield from wrapped_lines(line, " " * _WIDTH) if line else [""]


def _lines(estimate: TrainingEstimate) -> Iterator[str]:
    settings, counted = estimate.settings, estimate.tokens
    yield f"{settings.algorithm.upper()} of {settings.model}"
    yield ""
    for part, (free, total) in estimate.parameters.items():
        how = _how(part, estimate, free, total)
        yield _line(part, f"{_amount(free):>8} of {_amount(total):>8} parameters trained   {how}".rstrip())
    yield ""
    checked = estimate.checked
    images = len({sample.blob for sample in checked.samples})
    yield _line("data", f"{len(checked.samples):,} pairs about {images:,} images")
    if checked.rejects:
        yield _line("", checked.in_words())
    if checked.too_many(settings.max_invalid_fraction):
        yield _line(
            "",
            f"This is more than max_invalid_fraction ({settings.max_invalid_fraction:g}): training would not start.",
        )
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    yield _line("steps", f"{estimate.steps:,} of {_step_in_words(estimate)}: {epochs}")
    yield from _noise(estimate)
    if counted is None:
        yield _line("tokens", _sampled_tokens(estimate.speed))
    else:
        yield _line("tokens", f"{counted.tokens:,} an epoch, {counted.plain_tokens:,} without sharing")
        yield _line("images", f"{counted.images:,} passes of the vision tower instead of {counted.plain_images:,}")
        yield _line("sharing", _sharing(estimate))
    yield ""
    yield from _memory(estimate)
    yield ""
    yield from _time(estimate)
    yield "Nothing was written."


def _sampled_tokens(speed: SpeedEstimate | None) -> str:
    unknown = "not known in advance: the model is trained on its own answers"
    if speed is None:
        return unknown
    return f"{speed.seconds_per_step * speed.tokens_per_second:,.0f} a step with its current answers; {unknown}"


def _step_in_words(estimate: TrainingEstimate) -> str:
    settings, of_step = estimate.settings, estimate.of_step
    if of_step is not None:
        return f"{of_step.pairs:.3g} pairs about {of_step.images:.3g} images on average"
    if settings.algorithm != "ppo":
        return f"{settings.batch_size} pairs"
    return f"{settings.ppo.questions_per_step} questions with {settings.ppo.answers_per_question} answers each"


def _noise(estimate: TrainingEstimate) -> Iterator[str]:
    of_step, correlation = estimate.of_step, estimate.noise_correlation
    if of_step is None or correlation is None:
        return
    noise = f"Its gradient is as noisy as that of {of_step.independent_pairs(correlation):.2g} independent pairs"
    more = "; --batch_by pairs makes steps of single pairs" if estimate.settings.batch_by == "images" else ""
    yield _line("", f"{noise}: two pairs about one image correlate by {correlation:.2f}, measured on a few{more}.")


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}".rstrip()


def _how(part: Part, estimate: TrainingEstimate, free: int, total: int) -> str:
    settings, stacked = estimate.settings.trainable, estimate.stacked
    if not total:
        return "no separate one"
    if not free:
        return "frozen"
    if part == "language":
        below = " on four bits" if settings.language == "qlora" else ""
        if below and stacked:
            below += f", but for {_amount(stacked)} of its experts, which stay in {frozen_dtype(estimate.settings)}"
        return f"LoRA of rank {settings.lora_rank}{below}" if settings.has_lora else _all(free, total)
    if part == "vision" and isinstance(settings.vision, int):
        return f"its last {settings.vision} blocks"
    return _all(free, total)


def _all(free: int, total: int) -> str:
    return "all" if free == total else "all that the model uses"


def _sharing(estimate: TrainingEstimate) -> str:
    counted, family = estimate.tokens, estimate.family
    assert counted is not None
    if family.shares == "nothing":
        return f"nothing is shared: {family.why}"
    what = "an image and its questions" if family.shares == "image" else "an image with its question"
    return f"{what} are computed once: {counted.plain_tokens / counted.tokens:.2f} times fewer tokens, same gradients"


def _memory(estimate: TrainingEstimate) -> Iterator[str]:
    memory, settings = estimate.memory, estimate.settings
    sums = [("weights", memory.weights), ("gradients", memory.gradients), ("optimizer", memory.optimizer)]
    if memory.activations is not None:
        sums.append((f"a micro-batch of {memory.measured_tokens:,} tokens", memory.activations))
    yield _line("memory", " + ".join(f"{name} {_bytes(size)}" for name, size in sums))
    more = "" if memory.activations is not None else ", and the activations"
    each = f" for each of {estimate.processes} processes" if estimate.processes > 1 else ""
    yield _line("", f"= {_bytes(memory.bytes_needed)}{more}{each}; this machine has {_bytes(memory.available)}")
    if fitting := memory.fitting_tokens:
        fits = f"A micro-batch of about {_two_significant_digits(fitting):,} tokens would fit"
        yield _line("", f"{fits}: --max_tokens_per_microbatch.")
    if _is_too_much(memory):
        less = "LoRA (--trainable.language lora, or qlora) and bf16 (--loop.precision bf16) need less"
        yield _line(
            "",
            f"Too much. {less}; so do --loop.gradient_checkpointing true and a smaller --max_tokens_per_microbatch.",
        )
        yield _line("", _elsewhere(settings))


def _elsewhere(settings: TrainingConfig) -> str:
    if settings.algorithm != "ppo":
        return "accelerate launch with --loop.shard true shards it over several devices."
    # The policy is held whole, with a copy of its trained weights before the first step.
    preset = "" if settings.trainable.has_lora else " --preset spa-vl-ppo-lora copies few weights;"
    return f"PPO does not support sharded policies.{preset} --ppo.sampler lets a server sample."


def _two_significant_digits(number: int) -> int:
    """To two significant digits."""
    return int(float(f"{number:.2g}"))


def _is_too_much(memory: MemoryEstimate) -> bool:
    return memory.bytes_needed >= memory.available


def _time(estimate: TrainingEstimate) -> Iterator[str]:
    speed = estimate.speed
    if speed is None:
        alone = "" if _is_too_much(estimate.memory) else " into one process alone"
        yield _line("time", f"not measured, because it does not fit{alone}")
        return
    step = f"{_span(speed.seconds_per_step)} a step, {speed.tokens_per_second:,.0f} tokens/s"
    yield _line("time", f"{step}, measured on {speed.steps} steps on {speed.device}")
    if speed.preparing:
        yield _line("", f"{_span(speed.preparing)} to score the reference, which is cached for every later run")
    shared = f", which {estimate.processes} processes share" if estimate.processes > 1 else ""
    yield _line("", f"{_span(speed.training)} for all steps{shared}")
    if estimate.settings.algorithm == "ppo":
        yield _line("", "The time of the rewarder is not included: it was not asked.")
        if not estimate.settings.ppo.reward:
            yield _line("", "The reward model is trained first: spavl train reward --dry-run estimates it.")


def _amount(number: int) -> str:
    for size, name in ((10**9, " B"), (10**6, " M"), (10**3, " K")):
        if number >= size:
            return f"{number / size:.3g}{name}"
    return str(number)


def _bytes(number: int) -> str:
    for size, name in ((10**9, "GB"), (10**6, "MB")):
        if number >= size:
            return f"{number / size:,.1f} {name}"
    return f"{number / 1000:,.1f} kB"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"
