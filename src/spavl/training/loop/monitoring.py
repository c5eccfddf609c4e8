"""Measures throughput and utilization of the device during training, and validates the model.

A validation runs every few steps. It decides which step was the best, and when to stop early.
"""

import json
import re
import resource
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from spavl.statistics import Estimate, wilson
from spavl.store.files import write_text
from spavl.training.config import ValidationConfig
from spavl.training.loop import distributed
from spavl.training.loop.loop import Checkpoints, StepRecord, TrainingTask
from spavl.training.model.anatomy import head_of
from spavl.training.model.trainable import count
from spavl.training.objectives.notes import SpeedNotes, ValidationNotes
from spavl.training.prefix_trees.logprobs import computing_in

if TYPE_CHECKING:
    from spavl.training.loop.generation_eval import GenerationEval

# Peak TFLOP/s of dense matrix products as the makers state them: in bfloat16 with float32 accumulation, and in float32
# without tensor cores. A name without an addition is the SXM module.
_PEAKS: Mapping[str, tuple[float, float]] = {
    r"A100": (312, 19.5),
    r"H100 PCIe": (756, 51),
    r"H100 NVL": (835, 60),
    r"H100": (989, 67),
    r"H200 NVL": (835, 60),
    r"H200": (989, 67),
    r"B200": (2250, 75),
    r"L40S": (362, 91.6),
    r"RTX A6000": (154.8, 38.7),
    r"RTX 4090": (165.2, 82.6),
}
# A part of a GPU, or a slower variant of the same name.
_ANOTHER = re.compile(r"\bMIG\b|Laptop|\bMax-Q\b|4090 D")
# The size of the matrix products that measure the peak of any other GPU: large enough to occupy all of it.
_SIDE, _PRODUCTS, _TRIES = 8192, 4, 3
# The metrics of a step that count its samples, and the number of steps over which recent throughput is averaged.
_UNITS, _RECENT = ("pairs", "answers"), 12
_NOT_EVALUATED = wilson(0, 0)
# The metrics of held-out pairs, if the objective has them.
_METRICS = ("loss", "accuracy", "margin")


class Throughput:
    """Measures the throughput of a training while it runs, and over the whole run."""

    def __init__(self, model: Any, precision: str) -> None:
        self._device: torch.device = model.device
        self._kind = torch.bfloat16 if precision == "bf16" else torch.float32
        self._is_cuda = self._device.type == "cuda"
        self._name = torch.cuda.get_device_name(self._device) if self._is_cuda else ""
        self._known = peak_of(self._name, self._kind)
        self._fastest = self._known or self._measured_peak()
        self._train_flops, self._forward_flops = flops_per_token(model), 2 * _weights_per_token(model)

    def _measured_peak(self) -> float | None:
        """The measured peak of a GPU. On a CPU a measurement depends on its other load, so there is none."""
        return measured_peak(self._device, self._kind) if self._is_cuda else None

    def recent(self, steps: Sequence[StepRecord]) -> dict[str, float]:
        """The throughput of the last steps, without those of earlier starts."""
        return self._metrics([step for step in steps[-_RECENT:] if step.seconds])

    def overall(self, steps: Sequence[StepRecord]) -> SpeedNotes:
        """The throughput of all steps of this start."""
        timed = [step for step in steps if step.seconds]
        if not timed:
            return SpeedNotes()
        if self._known is None and self._fastest is not None:
            # The GPU may have been busy when it was first measured.
            self._fastest = max(self._fastest, self._measured_peak() or 0.0)
        typical = round(statistics.median(step.seconds for step in timed), 4)
        metrics = self._metrics(timed)
        return SpeedNotes(
            seconds_per_step=typical,
            pairs_per_second=metrics.get("pairs_per_second"),
            answers_per_second=metrics.get("answers_per_second"),
            tokens_per_second=metrics.get("tokens_per_second"),
            model_flops_utilisation=metrics.get("model_flops_utilisation"),
            peak_megabytes=round(metrics["peak_megabytes"]),
            peak=self._peak_in_words(),
        )

    def _peak_in_words(self) -> str:
        if self._fastest is None:
            return "unknown for a CPU, so no utilization is reported"
        source = "by its maker" if self._known else "as measured; a utilization above 1 is not reported"
        return f"{self._fastest / 1e12:.4g} TFLOP/s of {self._name}, {source}"

    def _metrics(self, timed: Sequence[StepRecord]) -> dict[str, float]:
        if not timed:
            return {}
        seconds = sum(step.seconds for step in timed)
        samples = {unit: total for unit in _UNITS if (total := _sum(timed, unit))}
        tokens = _sum(timed, "tokens")
        work = tokens * self._train_flops + _sum(timed, "tokens_read") * self._forward_flops
        return {
            **{f"{unit}_per_second": round(total / seconds, 3) for unit, total in samples.items()},
            "tokens_per_second": round(tokens / seconds, 1),
            **self._utilisation(work / seconds),
            "peak_megabytes": round(_peak_memory() / 2**20),
        }

    def _utilisation(self, flops: float) -> dict[str, float]:
        """Model FLOPs utilization over all processes: the tokens of a step are those of all of them."""
        used = flops / (self._fastest * distributed.process_count()) if self._fastest else 0.0
        # A value above 1 means that the peak was measured while the GPU was busy.
        return {"model_flops_utilisation": round(used, 4)} if 0 < used <= 1 else {}


def line_of(throughput: Mapping[str, float]) -> str:
    """Throughput in one line."""
    if not throughput:
        return ""
    samples = [f"{throughput[name]:.3g} {unit}/s" for unit in _UNITS if (name := f"{unit}_per_second") in throughput]
    used = [f"MFU {throughput[name]:.0%}" for name in ("model_flops_utilisation",) if name in throughput]
    memory = f"{throughput['peak_megabytes'] / 1024:.1f} GiB"
    return "  ".join([*samples, f"{throughput['tokens_per_second']:.0f} tokens/s", *used, memory])


def flops_per_token(model: Any) -> int:
    """Forward and backward FLOPs of the language model, without attention, vision tower and recomputation."""
    trained, _ = count(model)["language"]
    gradients = trained - sum(table.numel() for table in _tables(model) if table.requires_grad)
    # Two FLOPs a weight in each of: the forward pass, the gradient of the inputs, and the gradient of the weights.
    return int(2 * (2 * _weights_per_token(model) + gradients))


def _weights_per_token(model: Any) -> int:
    """The number of weights that each token is multiplied with."""
    return int(count(model)["language"][1] - sum(table.numel() for table in _tables(model)))


def _tables(model: Any) -> list[torch.Tensor]:
    """Input embeddings, which are looked up, and the head, which is used for answers only. They may be one."""
    found = (model.get_input_embeddings(), head_of(model))
    return list({id(table.weight): table.weight for table in found if table is not None}.values())


def peak_of(name: str, kind: torch.dtype) -> float | None:
    """The peak of a GPU by its maker, in FLOP/s."""
    if _ANOTHER.search(name):
        return None
    found = next((peaks for known, peaks in _PEAKS.items() if re.search(rf"\b{known}\b", name)), None)
    return None if found is None else found[kind == torch.float32] * 1e12


def measured_peak(device: torch.device, kind: torch.dtype) -> float:
    """The fastest of a few series of large matrix products, in FLOP/s."""
    one = torch.randn(_SIDE, _SIDE, device=device, dtype=kind, generator=torch.Generator(device))
    one @ one  # warm-up
    times = []
    for _ in range(_TRIES):
        _settle(device)
        began = time.perf_counter()
        for _ in range(_PRODUCTS):
            one @ one
        _settle(device)
        times.append(time.perf_counter() - began)
    return 2 * _SIDE**3 * _PRODUCTS / min(times)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _sum(steps: Sequence[StepRecord], name: str) -> float:
    return sum(step.metrics.get(name, 0.0) for step in steps)


def _peak_memory() -> int:
    """The peak memory of this process, in bytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class ValidationResult(NamedTuple):
    """The validation at a step: two rates if a guard judged answers, and the metrics of held-out pairs."""

    step: int
    unsafe_rate: Estimate = _NOT_EVALUATED
    over_refusal: Estimate = _NOT_EVALUATED
    held_out: Mapping[str, float] = {}

    @property
    def error(self) -> float:
        """What validation minimizes: the sum of the rates that were measured, or else the loss on held-out pairs."""
        rates = [each.value for each in (self.unsafe_rate, self.over_refusal) if each.n]
        return sum(rates) if rates or not self.held_out else self.held_out["loss"]

    def metrics(self) -> dict[str, float]:
        """The measured values, by the names of their curves."""
        rates = {"unsafe_rate": self.unsafe_rate, "over_refusal": self.over_refusal}
        measured = {name: rate.value for name, rate in rates.items() if rate.n}
        return measured | {f"held_out_{name}": value for name, value in self.held_out.items()}

    def as_notes(self) -> ValidationNotes:
        return ValidationNotes(**self._asdict())


class HeldOutPairs:
    """Pairs that are never trained on, as a task with a single step that holds all of them."""

    def __init__(self, task: TrainingTask[Any], precision: str) -> None:
        self._task, self._precision = task, precision

    @torch.no_grad()
    def metrics(self, module: nn.Module) -> dict[str, float]:
        total: Counter[str] = Counter()
        for batch in self._task.microbatches(0):
            with computing_in(self._precision, module.model):
                loss = self._task.loss(module, batch)
            total.update({"loss": loss.value.item(), **loss.metrics})
        return {name: total[name] for name in _METRICS if name in total}


class Validator:
    """Validates the model that is trained, and remembers the results of earlier starts.

    All processes call it together. Only the first one generates, remembers and decides.
    """

    def __init__(
        self,
        task: TrainingTask[Any],
        checkpoints: Checkpoints,
        settings: ValidationConfig,
        generation: "GenerationEval | None" = None,
        held_out: HeldOutPairs | None = None,
        is_sharded: bool = False,
    ) -> None:
        self._task, self._checkpoints, self._settings = task, checkpoints, settings
        self._generation, self._held_out, self._is_sharded = generation, held_out, is_sharded
        self._file = checkpoints.folder / "validation.jsonl"
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        self.results = [_read(line) for line in lines]

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best validation are kept at the end, and not the last ones."""
        return bool(self._settings.guard or self._settings.patience)

    async def is_over(self, step: int) -> bool:
        """Validate if it is due; returns whether to stop early."""
        if step % self._settings.every and step != self._task.steps:
            return False
        if distributed.from_first(lambda: self.is_due(step)):
            result = await self.validate(step)
            if self.keeps_best and distributed.from_first(lambda: result is self.best(step)):
                self._checkpoints.save_best(self._task.module)
            # After its weights are saved: a result on disk implies that they are on disk too.
            if distributed.is_first():
                self._remember()
        return distributed.from_first(lambda: self.is_out_of_patience(step))

    def is_due(self, step: int) -> bool:
        is_done = any(result.step == step for result in self.results)
        return not is_done and (step % self._settings.every == 0 or step == self._task.steps)

    async def validate(self, step: int) -> ValidationResult:
        module, held_out = self._task.module, dict[str, float]()
        # A sharded model needs all processes for a forward pass and to be gathered.
        if self._held_out is not None and (distributed.is_first() or self._is_sharded):
            held_out = self._held_out.metrics(module)
        weights = self._checkpoints.whole(module) if self._settings.guard and self._is_sharded else None
        rates = await self._generation.rates(weights) if self._generation else ()
        result = ValidationResult(step, *rates)._replace(held_out=held_out)
        self.results.append(result)
        return result

    def restore_best(self) -> None:
        """Load the weights of the best validation, if they are kept. Called when the training is over."""
        if self.keeps_best:
            self._checkpoints.load_best(self._task.module)

    def best(self, until: int) -> ValidationResult | None:
        """The result with the smallest error up to a step; of equal ones the later, which has trained longer."""
        results = [result for result in reversed(self.results) if result.step <= until]
        return min(results, key=lambda result: result.error, default=None)

    def is_out_of_patience(self, step: int) -> bool:
        """Whether the last `patience` validations in a row were not better, so that training stops."""
        best = self.best(step)
        since = [result for result in self.results if best is not None and best.step < result.step <= step]
        return 0 < self._settings.patience <= len(since)

    def _remember(self) -> None:
        write_text(self._file, "".join(json.dumps(result.as_notes().as_json()) + "\n" for result in self.results))


def _read(line: str) -> ValidationResult:
    saved = ValidationNotes.model_validate_json(line)
    return ValidationResult(saved.step, saved.unsafe_rate, saved.over_refusal, saved.held_out)
