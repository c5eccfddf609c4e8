"""How fast a training is, against what its machine can do."""

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

# Tera-operations a second of dense products as the makers give them: in bfloat16 with sums in float32, and in float32
# without tensor cores. A name that says nothing else is that of the SXM module.
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
# A slice of a GPU, or a slower one of the same name.
_ANOTHER = re.compile(r"\bMIG\b|Laptop|\bMax-Q\b|4090 D")
# How long the sides of the matrices are that a GPU of another name is measured by: enough to keep all of it at work.
_SIDE, _PRODUCTS, _TRIES = 8192, 4, 3
# What a step counts its samples as, and the steps that the present pace is taken from.
_UNITS, _RECENT = ("pairs", "answers"), 12


class Throughput:
    """Tells the pace of steps while they are taken, and what it was in the end."""

    def __init__(self, model: Any, precision: str) -> None:
        self._device: torch.device = model.device
        self._kind = torch.bfloat16 if precision == "bf16" else torch.float32
        self._is_cuda = self._device.type == "cuda"
        self._name = torch.cuda.get_device_name(self._device) if self._is_cuda else ""
        self._known = peak_of(self._name, self._kind)
        self._fastest = self._known or self._measured()
        self._learnt, self._read = flops_per_token(model), 2 * _passed(model)

    def _measured(self) -> float | None:
        """What a CPU is seen to do hangs on what else it has to do, so it is no peak."""
        return products_per_second(self._device, self._kind) if self._is_cuda else None

    def pace(self, steps: Sequence[StepRecord]) -> dict[str, float]:
        """Of the last few steps; those of an earlier start took no time here and tell nothing."""
        return self._figures([step for step in steps[-_RECENT:] if step.seconds])

    def speed(self, steps: Sequence[StepRecord]) -> SpeedNotes:
        """Of all steps of this start."""
        timed = [step for step in steps if step.seconds]
        if not timed:
            return SpeedNotes()
        if self._known is None and self._fastest is not None:
            # The GPU may have been busy at the start.
            self._fastest = max(self._fastest, self._measured() or 0.0)
        typical = round(statistics.median(step.seconds for step in timed), 4)
        pace = self._figures(timed)
        return SpeedNotes(
            seconds_per_step=typical,
            pairs_per_second=pace.get("pairs_per_second"),
            answers_per_second=pace.get("answers_per_second"),
            tokens_per_second=pace.get("tokens_per_second"),
            model_flops_utilisation=pace.get("model_flops_utilisation"),
            peak_megabytes=round(pace["peak_megabytes"]),
            peak=self._told_of_peak(),
        )

    def _told_of_peak(self) -> str:
        if self._fastest is None:
            return "not known of a CPU, so no utilisation is told"
        whose = "as its maker says" if self._known else "as was measured; a utilisation above 1 is not told"
        return f"{self._fastest / 1e12:.4g} tera-operations a second, {whose}, of {self._name}"

    def _figures(self, timed: Sequence[StepRecord]) -> dict[str, float]:
        if not timed:
            return {}
        seconds = sum(step.seconds for step in timed)
        samples = {unit: total for unit in _UNITS if (total := _sum(timed, unit))}
        tokens = _sum(timed, "tokens")
        work = tokens * self._learnt + _sum(timed, "tokens_read") * self._read
        return {
            **{f"{unit}_per_second": round(total / seconds, 3) for unit, total in samples.items()},
            "tokens_per_second": round(tokens / seconds, 1),
            **self._utilisation(work / seconds),
            "peak_megabytes": round(_peak() / 2**20),
        }

    def _utilisation(self, done: float) -> dict[str, float]:
        """Tokens are those of all processes, and so must be what their devices could do."""
        used = done / (self._fastest * distributed.how_many()) if self._fastest else 0.0
        # More than the peak has not been done: the peak was measured while the GPU was busy.
        return {"model_flops_utilisation": round(used, 4)} if 0 < used <= 1 else {}


def line_of(pace: Mapping[str, float]) -> str:
    """A pace in one line."""
    if not pace:
        return ""
    samples = [f"{pace[name]:.3g} {unit}/s" for unit in _UNITS if (name := f"{unit}_per_second") in pace]
    used = [f"MFU {pace[name]:.0%}" for name in ("model_flops_utilisation",) if name in pace]
    memory = f"{pace['peak_megabytes'] / 1024:.1f} GiB"
    return "  ".join([*samples, f"{pace['tokens_per_second']:.0f} tokens/s", *used, memory])


def flops_per_token(model: Any) -> int:
    """Of the language model's weights, forward and back; attention, the tower and recomputing do not count."""
    trained, _ = count(model)["language"]
    taught = trained - sum(table.numel() for table in _tables(model) if table.requires_grad)
    # Two for a product and a sum; on the way back once for what lies below, and once for the weights.
    return int(2 * (2 * _passed(model) + taught))


def _passed(model: Any) -> int:
    """The weights that each token goes through."""
    return int(count(model)["language"][1] - sum(table.numel() for table in _tables(model)))


def _tables(model: Any) -> list[torch.Tensor]:
    """Words in are looked up and words out are scored at answers alone; the two may be one."""
    found = (model.get_input_embeddings(), head_of(model))
    return list({id(table.weight): table.weight for table in found if table is not None}.values())


def peak_of(name: str, kind: torch.dtype) -> float | None:
    """What the maker of a GPU of this name says that it does, in operations a second."""
    if _ANOTHER.search(name):
        return None
    found = next((peaks for known, peaks in _PEAKS.items() if re.search(rf"\b{known}\b", name)), None)
    return None if found is None else found[kind == torch.float32] * 1e12


def products_per_second(device: torch.device, kind: torch.dtype) -> float:
    """The fastest of a few rows of large products of matrices, in operations a second."""
    one = torch.randn(_SIDE, _SIDE, device=device, dtype=kind, generator=torch.Generator(device))
    one @ one  # wakes it up
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


def _peak() -> int:
    """The most memory that this process has held."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
