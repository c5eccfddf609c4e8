"""How fast a training is, against what its machine can do."""

import functools
import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from spavl.training import processes
from spavl.training.parts import count
from spavl.training.states import Step

# How long the sides of the matrices are that a device is measured by: long enough to keep all of it at work.
_SIDES: Mapping[str, int] = {"cuda": 8192, "cpu": 1024}
_PRODUCTS, _TRIES = 4, 3
# What a step counts its samples as, and the steps that the present pace is taken from.
_UNITS, _RECENT = ("pairs", "answers"), 12


class Meter:
    """Tells the pace of steps while they are taken, and what it was in the end."""

    def __init__(self, model: Any, precision: str) -> None:
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        # Tokens are those of all processes, and so must be what their devices could do.
        self._fastest = products_per_second(model.device, kind) * processes.how_many()
        self._learnt, self._read = flops_per_token(model), 2 * _passed(model)

    def pace(self, steps: Sequence[Step]) -> dict[str, float]:
        """Of the last few steps; those of an earlier start took no time here and tell nothing."""
        return self._figures([step for step in steps[-_RECENT:] if step.seconds])

    def speed(self, steps: Sequence[Step]) -> dict[str, float]:
        """Of all steps of this start."""
        timed = [step for step in steps if step.seconds]
        if not timed:
            return {}
        return {"seconds_per_step": round(statistics.median(step.seconds for step in timed), 4), **self._figures(timed)}

    def _figures(self, timed: Sequence[Step]) -> dict[str, float]:
        if not timed:
            return {}
        seconds = sum(step.seconds for step in timed)
        samples = {unit: total for unit in _UNITS if (total := _sum(timed, unit))}
        tokens = _sum(timed, "tokens")
        work = tokens * self._learnt + _sum(timed, "tokens_read") * self._read
        return {
            **{f"{unit}_per_second": round(total / seconds, 3) for unit, total in samples.items()},
            "tokens_per_second": round(tokens / seconds, 1),
            "model_flops_utilisation": round(work / seconds / self._fastest, 4),
            "peak_megabytes": round(_peak() / 2**20),
        }


def line_of(pace: Mapping[str, float]) -> str:
    """A pace in one line."""
    if not pace:
        return ""
    samples = [f"{pace[name]:.3g} {unit}/s" for unit in _UNITS if (name := f"{unit}_per_second") in pace]
    of_peak, memory = pace["model_flops_utilisation"], pace["peak_megabytes"] / 1024
    return "  ".join([*samples, f"{pace['tokens_per_second']:.0f} tokens/s", f"MFU {of_peak:.0%}", f"{memory:.1f} GiB"])


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
    found = (model.get_input_embeddings(), model.get_output_embeddings())
    return list({id(table.weight): table.weight for table in found if table is not None}.values())


@functools.cache
def products_per_second(device: torch.device, kind: torch.dtype) -> float:
    """The fastest of a few rows of large products of matrices, in operations a second."""
    side = _SIDES.get(device.type, _SIDES["cuda"])
    one = torch.randn(side, side, device=device, dtype=kind, generator=torch.Generator(device))
    one @ one  # wakes it up
    times = []
    for _ in range(_TRIES):
        _settle(device)
        began = time.perf_counter()
        for _ in range(_PRODUCTS):
            one @ one
        _settle(device)
        times.append(time.perf_counter() - began)
    return 2 * side**3 * _PRODUCTS / min(times)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _sum(steps: Sequence[Step], name: str) -> float:
    return sum(step.metrics.get(name, 0.0) for step in steps)


def _peak() -> int:
    """The most memory that this process has held."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
