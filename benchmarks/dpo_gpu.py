"""DPO at the shapes of LLaVA-1.5-7B and Qwen2.5-VL-7B on a GPU, against the newest TRL: random weights in bfloat16.

Of each shape, with LoRA and with all of the language model trained: pairs and tokens a second, model FLOPs
utilisation against the fastest product of matrices that this GPU was seen to do, peak memory, the ratio to TRL
with a live and with a cached reference, and what an epoch over SPA-VL's 93,258 pairs would take at that pace.
Each side has a process of its own, so that its memory is its own. Before that, trees are held against plain rows
on the same GPU, forward and back.

Without a GPU every line says that nothing was measured. `--narrow` runs on the CPU with models a few numbers wide,
to test the benchmark itself; its numbers mean nothing.

    python -m benchmarks.dpo_gpu [--shapes llava-1.5-7b] [--steps 8] [--narrow]
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from benchmarks.dpo_work.peer import NAME, train_with_trl
from benchmarks.dpo_work.shapes import QUESTIONS, SHAPES, Blobs, image_of, new_data
from peft import LoraConfig
from torch import Tensor
from transformers import TrainerCallback

from spavl.records import Sample
from spavl.training.config import DPOConfig as DPOSettings
from spavl.training.config import LoopConfig, TrainableConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, train
from spavl.training.loop.monitoring import flops_per_token, measured_peak
from spavl.training.model.anatomy import linear_layers
from spavl.training.model.trainable import prepare
from spavl.training.objectives.dpo import DPO
from spavl.training.objectives.microbatches import SampleOrder
from spavl.training.objectives.registry import ObjectiveInputs
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, sorted_by_answer
from spavl.training.prefix_trees.tree import ScoredRow

SPA_VL_PAIRS = 93_258
PARTS = ("lora", "full")
# The paper's: images of a step, beta, and LoRA's rank.
IMAGES, BETA, RATE, RANK, ALPHA = 4, 0.1, 1e-6, 256, 512
PAIRS = IMAGES * QUESTIONS
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def new_model(shape: str, narrow: bool, dtype: torch.dtype = torch.bfloat16) -> Any:
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(DEVICE):
            return SHAPES[shape].model(narrow)
    finally:
        torch.set_default_dtype(usual)


def free(model: Any, parts: str) -> None:
    """As the presets do, but with what is trained in bfloat16 too, on both sides: in float32 it fits no single GPU."""
    language = "lora" if parts == "lora" else "full"
    prepare(model, TrainableConfig(projector=parts == "full", language=language, lora_rank=RANK, lora_alpha=ALPHA))
    if parts == "full":
        model.to(torch.bfloat16)


# --- the two sides; each says what it found as one line of JSON


def fastest_products(device: torch.device) -> float | None:
    """On a CPU these products take an hour, and tell nothing."""
    return measured_peak(device, torch.bfloat16) if device.type == "cuda" else None


def ours(shape: str, parts: str, narrow: bool, samples: list[Sample], blobs: Blobs) -> dict[str, Any]:
    model = new_model(shape, narrow)
    free(model, parts)
    model.train()
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    loop = LoopConfig(learning_rate=RATE, warmup_steps=0, save_every=10**6, precision="bf16")
    config = TrainingConfig(dpo=DPOSettings(beta=BETA), batch_size=PAIRS, max_tokens_per_microbatch=2**20, loop=loop)
    inputs = ObjectiveInputs(
        model=model,
        processor=SHAPES[shape].processor(),
        samples=samples,
        image=blobs.__getitem__,
        settings=config,
        seed=0,
    )
    dpo = DPO(inputs)
    dpo.step_batches.check()
    list(dpo.reference.score_missing())
    live, cached, losses, tokens = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        steps = train(dpo, loop, Checkpoints(Path(folder)))
        for number in range(dpo.steps):
            began = settled()
            with torch.no_grad(), dpo.step_batches.computing():
                for each in dpo.microbatches(number):
                    dpo.module(each.rows)
            reference = settled() - began
            began = settled()
            step = next(steps)
            cached.append(settled() - began)
            live.append(cached[-1] + reference)
            losses.append(step.metrics["loss"])
            tokens.append(step.metrics["tokens"])
            # States are saved by the last step only, which is therefore left out.
            if number + 2 == dpo.steps:
                break
    return {
        "live": live,
        "cached": cached,
        "losses": losses,
        "tokens": tokens,
        "flops_per_token": flops_per_token(model),
        "measured_peak": fastest_products(model.device),
        "peak_gb": peak_gb(),
    }


class Clock(TrainerCallback):  # type: ignore[misc]
    """The seconds of each step, the reading of its data among them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._began = settled()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(settled() - self._began)
        self._began = settled()


def theirs(shape: str, parts: str, narrow: bool, samples: list[Sample], blobs: Blobs) -> dict[str, Any]:
    model, clock = new_model(shape, narrow), Clock()
    more: dict[str, Any] = {"callbacks": [clock]}
    if parts == "lora":
        more["peft_config"] = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=linear_layers(model), bias="none")
    else:
        free(model, parts)
        more["ref_model"] = copy.deepcopy(model)
    order = SampleOrder(samples, PAIRS, epochs=1, seed=0)
    settings = {
        "beta": BETA,
        "learning_rate": RATE,
        "per_device_train_batch_size": PAIRS,
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "bf16": True,
        "use_cpu": DEVICE == "cpu",
    }
    in_order = [sample for step in range(order.steps) for sample in order.at(step)]
    losses = train_with_trl(model, SHAPES[shape].processor(), in_order, blobs, settings, **more)
    return {"seconds": clock.seconds, "losses": losses, "peak_gb": peak_gb()}


def settled() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_gb() -> float | None:
    return round(torch.cuda.max_memory_allocated() / 2**30, 2) if DEVICE == "cuda" else None


# --- trees against plain rows


def apart(shape: str, narrow: bool, layers: int = 2) -> dict[str, Any]:
    """The furthest that trees are from plain rows in float32, at the shape's full width and a few of its layers."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = new_model(shape, narrow, torch.float32)
    decoder = model.get_decoder()
    decoder.layers = decoder.layers[:layers]
    prepare(model, TrainableConfig())
    samples, blobs = new_data(2, SHAPES[shape].side)
    images = {name: image_of(data) for name, data in blobs.items()}
    rows = [
        ScoredRow(each.blob, images[each.blob], each.question, text)
        for each in samples
        for text in (each.chosen, each.rejected)
    ]
    found = [_scores_and_gradients(model, SHAPES[shape].processor(), rows, share) for share in (True, False)]
    (scores, gradients), (plain_scores, plain_gradients) = found
    wrong = sum(float((mine - plain).square().sum()) for mine, plain in zip(gradients, plain_gradients, strict=True))
    norm = sum(float(plain.square().sum()) for plain in plain_gradients)
    return {
        "layers": len(decoder.layers),
        "log_probabilities": float((scores - plain_scores).abs().max()),
        "gradients": (wrong / norm) ** 0.5,
    }


def _scores_and_gradients(
    model: Any, processor: Any, rows: Sequence[ScoredRow], share: bool
) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    batch = make_batch(model, processor, rows, share)
    scores = sorted_by_answer(answer_token_logprobs(model, batch), batch)
    # Every token counts differently, so that no two mistakes take each other away.
    (scores * torch.linspace(0.5, 1.5, len(scores), device=scores.device)).sum().backward()
    return scores.detach(), [each.grad.clone() for each in model.parameters() if each.grad is not None]


# --- the lines


def said_by(side: str, shape: str, parts: str, asked: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.dpo_gpu",
        "--one",
        side,
        "--shapes",
        shape,
        "--parts",
        parts,
        "--steps",
        str(asked.steps),
    ]
    done = subprocess.run(
        [*command, *(["--narrow"] if asked.narrow else [])], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        return {"failed": f"{side} ended with exit code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def lines(shape: str, parts: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    mine, trl = (said_by(side, shape, parts, asked) for side in ("ours", "theirs"))
    for kind in ("live", "cached"):
        start: dict[str, Any] = {"name": f"dpo_{kind}_vs_trl", "shape": shape, "parts": parts, "peer": NAME}
        if why := mine.get("failed"):
            yield {**start, "ratio": None, "why": why}
            continue
        # The first step is a warm-up, and left out.
        took, tokens = mine[kind][1:], mine["tokens"][1:]
        pace = PAIRS * len(took) / sum(took)
        told = {
            "pairs_per_second": round(pace, 3),
            "tokens_per_second": round(sum(tokens) / sum(took), 1),
            "hours_of_93258_pairs": round(SPA_VL_PAIRS / pace / 3600, 2),
            "peak_gb": mine["peak_gb"],
        }
        if kind == "cached" and mine["measured_peak"]:
            done = sum(tokens) * mine["flops_per_token"] / sum(took)
            told["model_flops_utilisation"] = round(done / mine["measured_peak"], 4)
        if why := trl.get("failed"):
            yield {**start, "ratio": None, "why": why, **told}
            continue
        theirs_took = trl["seconds"][1 : len(took) + 1]
        ratios = [their / our for their, our in zip(theirs_took, took, strict=True)]
        told["of_the_peer"] = {
            "pairs_per_second": round(PAIRS * len(took) / sum(theirs_took), 3),
            "peak_gb": trl["peak_gb"],
        }
        told["losses_apart"] = max(abs(a - b) for a, b in zip(mine["losses"], trl["losses"], strict=False))
        yield {
            **start,
            "ratio": round(sum(theirs_took) / sum(took), 2),
            "median": round(statistics.median(ratios), 2),
            "low": round(min(ratios), 2),
            "high": round(max(ratios), 2),
            **told,
        }


def not_measured(shapes: Sequence[str]) -> Iterator[dict[str, Any]]:
    why = "not measured: this machine has no CUDA device"
    for shape in shapes:
        yield {"name": "trees_vs_plain_rows", "shape": shape, "ratio": None, "why": why}
        for parts in PARTS:
            for kind in ("live", "cached"):
                yield {"name": f"dpo_{kind}_vs_trl", "shape": shape, "parts": parts, "ratio": None, "why": why}


def measured(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for shape in asked.shapes:
        yield {"name": "trees_vs_plain_rows", "shape": shape, **said_by("apart", shape, "full", asked)}
        for parts in asked.parts:
            yield from lines(shape, parts, asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [shape for shape in SHAPES if shape != "small"]
    parser.add_argument("--shapes", nargs="+", choices=known, default=known)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=8, help="of which the first and the last do not count")
    parser.add_argument(
        "--narrow", action="store_true", help="run on the CPU with narrow models, whose numbers mean nothing"
    )
    parser.add_argument("--one", choices=["ours", "theirs", "apart"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    shape, parts = asked.shapes[0], asked.parts[0]
    if asked.one == "apart":
        print(json.dumps(apart(shape, asked.narrow)))
    elif asked.one:
        side: Callable[..., dict[str, Any]] = ours if asked.one == "ours" else theirs
        print(json.dumps(side(shape, parts, asked.narrow, *new_data(IMAGES * asked.steps, SHAPES[shape].side))))
    else:
        mark = {"narrow": True} if asked.narrow else {}
        machine = {"device": torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"}
        can = DEVICE == "cuda" or asked.narrow
        for line in measured(asked) if can else not_measured(asked.shapes):
            print(json.dumps(line | machine | mark), flush=True)


if __name__ == "__main__":
    main()
