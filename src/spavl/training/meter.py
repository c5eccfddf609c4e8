"""How fast a training was, against what its machine can do."""

import resource
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from spavl.training.parts import count
from spavl.training.states import Step

_SIDE, _TRIES = 2048, 5


def speed(model: Any, steps: Sequence[Step], done: int, unit: str, precision: str) -> dict[str, object]:
    """What was measured on the way; steps of an earlier start were not."""
    timed = [step for step in steps if step.seconds]
    if not timed:
        return {}
    seconds = sum(step.seconds for step in timed)
    tokens = sum(step.metrics["tokens"] for step in timed)
    fastest = products_per_second(model.device, torch.bfloat16 if precision == "bf16" else torch.float32)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _resident()
    return {
        "seconds_per_step": round(statistics.median(step.seconds for step in timed), 4),
        f"{unit}_per_second": round(done * len(timed) / len(steps) / seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1),
        "model_flops_utilisation": round(tokens * flops_per_token(model) / seconds / fastest, 4),
        "peak_megabytes": round(peak / 2**20),
    }


def flops_per_token(model: Any) -> int:
    """Of the language model's weights, forward and back; attention, the tower and recomputing do not count."""
    trained, every = count(model)["language"]
    # Words in are looked up and words out are scored at answers alone; the two may be one.
    found = (model.get_input_embeddings(), model.get_output_embeddings())
    tables = {id(table.weight): table.weight for table in found if table is not None}.values()
    passed = every - sum(table.numel() for table in tables)
    taught = trained - sum(table.numel() for table in tables if table.requires_grad)
    # Two for a product and a sum; on the way back once for what lies below, and once for the weights.
    return int(2 * (2 * passed + taught))


def products_per_second(device: torch.device, kind: torch.dtype) -> float:
    """The fastest of a few large products of matrices, in operations a second."""
    one = torch.randn(_SIDE, _SIDE, device=device, dtype=kind)
    times = []
    for _ in range(_TRIES):
        _settle(device)
        began = time.perf_counter()
        one @ one
        _settle(device)
        times.append(time.perf_counter() - began)
    return 2 * _SIDE**3 / min(times)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
