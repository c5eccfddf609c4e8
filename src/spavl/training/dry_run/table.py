"""A dry run as lines to read."""

from collections.abc import Iterator

from spavl.text.layout import wrapped
from spavl.training.config import TrainingConfig
from spavl.training.dry_run.estimate import MemoryEstimate, SpeedEstimate, TrainingEstimate
from spavl.training.model.anatomy import Part
from spavl.training.run import kept_in

_WIDTH = 12


def page(training_estimate: TrainingEstimate) -> Iterator[str]:
    for line in _lines(training_estimate):
        yield from wrapped(line, " " * _WIDTH) if line else [""]


def _lines(training_estimate: TrainingEstimate) -> Iterator[str]:
    settings, counted = training_estimate.settings, training_estimate.tokens
    yield f"{settings.algorithm.upper()} of {settings.model}"
    yield ""
    for part, (free, total) in training_estimate.parameters.items():
        how = _how(part, training_estimate, free, total)
        yield _line(part, f"{_amount(free):>8} of {_amount(total):>8} parameters learn   {how}".rstrip())
    yield ""
    checked = training_estimate.checked
    images = len({sample.blob for sample in checked.samples})
    yield _line("data", f"{len(checked.samples):,} pairs about {images:,} images")
    if checked.rejects:
        yield _line("", checked.told())
    if checked.too_many(settings.max_invalid_fraction):
        yield _line(
            "",
            f"More than max_invalid_fraction ({settings.max_invalid_fraction:g}) of them: training would not begin.",
        )
    epochs = "1 epoch" if settings.epochs == 1 else f"{settings.epochs} epochs"
    yield _line("steps", f"{training_estimate.steps:,} of {_of_step(training_estimate)}: {epochs}")
    yield from _noise(training_estimate)
    if counted is None:
        yield _line("tokens", _of_own_answers(training_estimate.pace))
    else:
        yield _line("tokens", f"{counted.tokens:,} an epoch, {counted.plain_tokens:,} if each row stood by itself")
        yield _line("pictures", f"{counted.images:,} passes of the vision tower instead of {counted.plain_images:,}")
        yield _line("sharing", _sharing(training_estimate))
    yield ""
    yield from _memory(training_estimate)
    yield ""
    yield from _time(training_estimate)
    yield "Nothing was written."


def _of_own_answers(pace: SpeedEstimate | None) -> str:
    unknown = "not known before: the model itself writes what it is trained on"
    if pace is None:
        return unknown
    return f"{pace.seconds_per_step * pace.tokens_per_second:,.0f} a step by its answers as they are now; {unknown}"


def _of_step(training_estimate: TrainingEstimate) -> str:
    settings, of_step = training_estimate.settings, training_estimate.of_step
    if of_step is not None:
        return f"{of_step.pairs:.3g} pairs about {of_step.images:.3g} images on average"
    if settings.algorithm != "ppo":
        return f"{settings.batch_size} pairs"
    return f"{settings.ppo.questions_per_step} questions with {settings.ppo.answers_per_question} answers each"


def _noise(training_estimate: TrainingEstimate) -> Iterator[str]:
    of_step, likeness = training_estimate.of_step, training_estimate.likeness
    if of_step is None or likeness is None:
        return
    noise = f"Such a step's gradient is as noisy as that of {of_step.worth(likeness):.2g} independent pairs"
    more = (
        "; --batch_by pairs makes steps of pairs drawn one by one"
        if training_estimate.settings.batch_by == "images"
        else ""
    )
    yield _line("", f"{noise}: two pairs about one image correlate by {likeness:.2f}, measured on a few{more}.")


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}".rstrip()


def _how(part: Part, training_estimate: TrainingEstimate, free: int, total: int) -> str:
    settings, stacked = training_estimate.settings.trainable, training_estimate.stacked
    if not total:
        return "none that is apart"
    if not free:
        return "frozen"
    if part == "language":
        below = " on four bits" if settings.language == "qlora" else ""
        if below and stacked:
            below += f", but for {_amount(stacked)} of its experts, which stay in {kept_in(training_estimate.settings)}"
        return f"LoRA of rank {settings.lora_rank}{below}" if settings.has_lora else _all(free, total)
    if part == "vision" and isinstance(settings.vision, int):
        return f"its last {settings.vision} blocks"
    return _all(free, total)


def _all(free: int, total: int) -> str:
    return "all" if free == total else "all that is read"


def _sharing(training_estimate: TrainingEstimate) -> str:
    counted, family = training_estimate.tokens, training_estimate.family
    assert counted is not None
    if family.shares == "nothing":
        return f"nothing is shared, for {family.why}"
    what = "an image and its questions" if family.shares == "picture" else "an image with its question"
    return f"{what} are computed once: {counted.plain_tokens / counted.tokens:.2f} times fewer tokens, same gradients"


def _memory(training_estimate: TrainingEstimate) -> Iterator[str]:
    memory, settings = training_estimate.memory, training_estimate.settings
    sums = [("weights", memory.weights), ("gradients", memory.gradients), ("optimizer", memory.optimizer)]
    if memory.activations is not None:
        sums.append((f"a pass of {memory.pass_tokens:,} tokens", memory.activations))
    yield _line("memory", " + ".join(f"{name} {_bytes(size)}" for name, size in sums))
    more = "" if memory.activations is not None else ", and a pass"
    each = f" for each of {training_estimate.processes} processes" if training_estimate.processes > 1 else ""
    yield _line("", f"= {_bytes(memory.needed)}{more}{each}; this machine has {_bytes(memory.there)}")
    if fitting := memory.fitting_tokens:
        yield _line("", f"A pass of about {_rounded(fitting):,} tokens would fit: --max_tokens_per_microbatch.")
    if _is_too_much(memory):
        less = "LoRA (--trainable.language lora, or qlora) and bf16 (--loop.precision bf16) need less"
        yield _line(
            "",
            f"Too much. {less}; so do --loop.gradient_checkpointing true and a smaller --max_tokens_per_microbatch.",
        )
        yield _line("", _elsewhere(settings))


def _elsewhere(settings: TrainingConfig) -> str:
    if settings.algorithm != "ppo":
        return "accelerate launch with --loop.shard true spreads it over several devices."
    # Held whole, and once more as it was at first.
    preset = "" if settings.trainable.has_lora else " --preset spa-vl-ppo-lora holds little of it twice;"
    return f"A policy cannot be spread over devices, for it answers.{preset} --ppo.sampler has a server draw."


def _rounded(number: int) -> int:
    """To its first two figures."""
    return int(float(f"{number:.2g}"))


def _is_too_much(memory: MemoryEstimate) -> bool:
    return memory.needed >= memory.there


def _time(training_estimate: TrainingEstimate) -> Iterator[str]:
    pace = training_estimate.pace
    if pace is None:
        alone = "" if _is_too_much(training_estimate.memory) else " into one process alone"
        yield _line("time", f"not measured, for it does not fit{alone}")
        return
    step = f"{_span(pace.seconds_per_step)} a step, {pace.tokens_per_second:,.0f} tokens/s"
    yield _line("time", f"{step}, measured on {pace.steps} steps on {pace.device}")
    if pace.preparing:
        yield _line("", f"{_span(pace.preparing)} for the reference's scores, which are kept for every later run")
    shared = f", which {training_estimate.processes} processes share" if training_estimate.processes > 1 else ""
    yield _line("", f"{_span(pace.training)} for all steps{shared}")
    if training_estimate.settings.algorithm == "ppo":
        yield _line("", "Without the time of whoever rewards, whom nobody has asked for this.")
        if not training_estimate.settings.ppo.reward:
            yield _line("", "The reward model is trained first: spavl train reward --dry-run tells of it.")


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
