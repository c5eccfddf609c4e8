"""DPO's pairs per second against the newest TRL: same model, data, precision, loss and optimizer, in one run.

The shape is LLaVA-1.5's: 576 tokens an image, three questions about it, answers of 60 to 120
tokens; the language model is small (63 M parameters) so that two CPU cores can do it. Both
take all pairs of two images as one step. `live` pays for the reference in this run,
`cached` found it on disk. The curves of the losses must agree, or there is no figure.

A step of whole images is spavl's own, and its gradient is noisier than that of as many pairs drawn one by one, as TRL
takes them. So there are lines of that order too (`_of_pairs`): both take pairs at random, as noisy as each other.

    python -m benchmarks.dpo [--steps 5] [--peer trl]
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from benchmarks.dpo_work.peer import NAME, train_with_trl
from benchmarks.dpo_work.shapes import QUESTIONS, SHAPES, Blobs, image_of, new_data
from torch import Tensor
from transformers import TrainerCallback

from spavl.records import Sample
from spavl.training.config import DPOConfig as DPOSettings
from spavl.training.config import LoopConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, train
from spavl.training.model.trainable import freeze_vision
from spavl.training.objectives.dpo import DPO
from spavl.training.objectives.losses import token_logprobs
from spavl.training.objectives.microbatches import SampleOrder
from spavl.training.objectives.registry import ObjectiveInputs
from spavl.training.prefix_trees import batch, logprobs
from spavl.training.prefix_trees.tree import ScoredRow

IMAGES = 2
PAIRS = IMAGES * QUESTIONS
RATE, BETA = 1e-4, 0.1
SHAPE = SHAPES["small"]


def new_model() -> Any:
    torch.manual_seed(0)
    model = SHAPE.model(False)
    freeze_vision(model)
    return model.eval()


StepsOf = Literal["images", "pairs"]


class Idea:
    """Nothing is switched off. Others switch one idea off while they are entered, and may be entered again."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class Family(Idea):
    """Switches off what rows share, or that attention goes by segments."""

    def __init__(self, **changed: Any) -> None:
        self._changed, self._kept = changed, batch.family_of

    def __enter__(self) -> None:
        batch.family_of = lambda model: self._kept(model)._replace(**self._changed)

    def __exit__(self, *_: object) -> None:
        batch.family_of = self._kept


class WholeLastLayer(Idea):
    """The last layer is computed at every token, and not only at those that are read."""

    def __init__(self) -> None:
        self._kept = batch.forks_of

    def __enter__(self) -> None:
        def all_read(trees: Any) -> Any:
            return tuple(segment._replace(read=True) for segment in self._kept(trees))

        batch.forks_of = all_read

    def __exit__(self, *_: object) -> None:
        batch.forks_of = self._kept


class AllLogits(Idea):
    """Words are scored at every place, as models do by themselves."""

    def __init__(self) -> None:
        self._kept = logprobs.answer_token_logprobs

    def __enter__(self) -> None:
        def everywhere(model: Any, given: batch.TreeBatch) -> Tensor:
            logits_BTV = model.lm_head(logprobs.hidden_states(model, given))
            return token_logprobs(logits_BTV[given.row_T, given.place_T], given.token_T)

        logprobs.answer_token_logprobs = everywhere

    def __exit__(self, *_: object) -> None:
        logprobs.answer_token_logprobs = self._kept


class Ours:
    """A training of ours with an idea switched off, or none, that goes on by one step when it is its turn."""

    def __init__(self, idea: Idea, processor: Any, samples: list[Sample], blobs: Blobs, of: StepsOf = "images") -> None:
        config = TrainingConfig(
            dpo=DPOSettings(beta=BETA),
            batch_size=PAIRS,
            batch_by=of,
            loop=LoopConfig(learning_rate=RATE, warmup_steps=0, save_every=10**6),
        )
        self._idea, self._folder = idea, tempfile.TemporaryDirectory()
        inputs = ObjectiveInputs(
            model=new_model(), processor=processor, samples=samples, image=blobs.__getitem__, settings=config, seed=0
        )
        self.dpo = DPO(inputs)
        with self._idea:
            self.dpo.step_batches.check()
            list(self.dpo.reference.score_missing())
        self._steps = train(self.dpo, config.loop, Checkpoints(Path(self._folder.name)))
        self.live, self.cached, self.losses = list[float](), list[float](), list[float]()

    def step(self) -> None:
        with self._idea:
            began = time.perf_counter()
            # What the reference costs; its scores are those of before, when the policy still was the reference.
            with torch.no_grad():
                for each in self.dpo.microbatches(len(self.losses)):
                    self.dpo.module(each.rows)
            reference = time.perf_counter() - began
            step = next(self._steps)
        self.cached.append(step.seconds)
        self.live.append(step.seconds + reference)
        self.losses.append(step.metrics["loss"])


class Turns(TrainerCallback):  # type: ignore[misc]
    """Lets ours make a step after each of TRL's, so that whatever else the machine does befalls all alike."""

    def __init__(self, others: Sequence[Ours]) -> None:
        self._others = others
        self.seconds: list[float] = []
        self._began = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._began)
        # Whoever goes first finds the memory as TRL has left it, so they take turns in that too.
        first = len(self.seconds) % max(1, len(self._others))
        for each in (*self._others[first:], *self._others[:first]):
            each.step()
        # From here on, for its trainer reads a step's batch before it says that the step begins.
        self._began = time.perf_counter()


def with_trl(processor: Any, order: list[Sample], blobs: Blobs, turns: Turns) -> list[float]:
    """Train with TRL; gives its losses."""
    settings = {
        "beta": BETA,
        "learning_rate": RATE,
        "per_device_train_batch_size": PAIRS,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
    }
    model = new_model()
    return train_with_trl(model, processor, order, blobs, settings, ref_model=copy.deepcopy(model), callbacks=[turns])


def tower_share(model: Any, processor: Any, samples: list[Sample], blobs: dict[str, bytes]) -> float:
    """How much of a step's time the frozen tower takes: the most that keeping its features could save."""
    rows = [ScoredRow("0", image_of(blobs["0"]), s.question, s.chosen) for s in samples[:QUESTIONS]]
    made = batch.make_batch(model, processor, [*rows, *(row._replace(answer=row.answer + " w1") for row in rows)])
    began = time.perf_counter()
    logprobs.answer_logprobs(model, made).sum().backward()
    middle = time.perf_counter()
    with torch.no_grad():
        model.model.vision_tower(made.inputs["pixel_values"])
    return (time.perf_counter() - middle) / (middle - began)


def line(name: str, theirs: Sequence[float], ours: Sequence[float], **more: Any) -> str:
    """The first round is a warm-up, and left out."""
    ratios = [their / our for their, our in zip(theirs[1:], ours[1:], strict=True)]
    told = {
        "name": name,
        "ratio": round(sum(theirs[1:]) / sum(ours[1:]), 2),
        "median": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "pairs_per_second": round(PAIRS / statistics.median(ours[1:]), 3),
        "peer": NAME,
    }
    return json.dumps(told | more)


def ideas() -> dict[str, Idea]:
    return {
        "": Idea(),
        "without response-only logits": AllLogits(),
        "without leaving out what is not read of the last layer": WholeLastLayer(),
        "without attention by segments of one packed row": Family(mask=lambda model, seen: seen.visible_BTT[:, None]),
        "without sharing the image over questions": Family(shares="prompt"),
        "without sharing the prompt over answers either": Family(shares="nothing"),
    }


def alone(side: str) -> None:
    """Two steps of one side in a process of its own: its peak memory is nobody else's."""
    samples, blobs = new_data(IMAGES * 2, SHAPE.side)
    ours = [Ours(Idea(), SHAPE.processor(), samples, blobs)] if side == "ours" else []
    for _ in range(2):
        for each in ours:
            each.step()
    if side == "trl":
        with_trl(SHAPE.processor(), samples, blobs, Turns([]))
    # Not by getrusage, whose peak begins with that of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) // 1024)


def peak_mb(side: str) -> int:
    command = [sys.executable, "-m", "benchmarks.dpo", "--alone", side]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def side_by_side(ours: dict[str, Ours], processor: Any, samples: list[Sample], blobs: Blobs, of: StepsOf) -> Turns:
    """TRL and ours by turns on the same steps; their losses must be the same."""
    order = SampleOrder(samples, PAIRS, 1, 0, of)
    turns = Turns(list(ours.values()))
    losses = with_trl(processor, [sample for step in range(order.steps) for sample in order.at(step)], blobs, turns)
    for each in ours.values():
        assert np.allclose(each.losses, losses, atol=2e-3), (each.losses, losses)
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="rounds of six pairs each; the first is a warm-up")
    parser.add_argument("--peer", choices=["trl"], default="trl")
    parser.add_argument("--alone", choices=["ours", "trl"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        alone(asked.alone)
        return
    samples, blobs = new_data(IMAGES * asked.steps, SHAPE.side)
    processor = SHAPE.processor()
    ours = {name: Ours(idea, processor, samples, blobs) for name, idea in ideas().items()}
    turns = side_by_side(ours, processor, samples, blobs, "images")
    by_pairs = {"": Ours(Idea(), processor, samples, blobs, "pairs")}
    turns_by_pairs = side_by_side(by_pairs, processor, samples, blobs, "pairs")
    more = {
        "peak_mb": peak_mb("ours"),
        "peak_mb_of_the_peer": peak_mb("trl"),
        "share_of_the_frozen_tower": round(tower_share(new_model(), processor, samples, blobs), 4),
    }
    for kind in ("live", "cached"):
        seconds = {name: getattr(each, kind) for name, each in ours.items()}
        without = {name: round(sum(turns.seconds[1:]) / sum(took[1:]), 2) for name, took in seconds.items() if name}
        print(line(f"dpo_{kind}_vs_trl", turns.seconds, seconds[""], **without, **more))
        print(line(f"dpo_{kind}_vs_trl_of_pairs", turns_by_pairs.seconds, getattr(by_pairs[""], kind)))


if __name__ == "__main__":
    main()
