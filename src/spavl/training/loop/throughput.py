"""The throughput of a training, and its utilization of the device."""

import re
import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from spavl.training.loop import distributed
from spavl.training.loop.checkpoints import StepRecord
from spavl.training.model.anatomy import head_of
from spavl.training.model.trainable import count
from spavl.training.objectives.notes import SpeedNotes

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
# How the metrics of a step name its samples, and the number of steps that the current throughput is averaged over.
_UNITS, _RECENT = ("pairs", "answers"), 12


class Throughput:
    """Measures the throughput of a training while it runs, and over the whole run."""

    def __init__(self, model: Any, precision: str) -> None:
        self._device: torch.device = model.device
        self._kind = torch.bfloat16 if precision == "bf16" else torch.float32
        self._is_cuda = self._device.type == "cuda"
        self._name = torch.cuda.get_device_name(self._device) if self._is_cuda else ""
        self._known = peak_of(self._name, self._kind)
        self._fastest = self._known or self._measured()
        self._train_flops, self._forward_flops = flops_per_token(model), 2 * _weights_per_token(model)

    def _measured(self) -> float | None:
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
            self._fastest = max(self._fastest, self._measured() or 0.0)
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
