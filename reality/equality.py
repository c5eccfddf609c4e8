"""DPO on the real model three times on the same pairs: prefix trees, plain rows, and TRL's DPOTrainer, taking turns.

    python -m reality.equality CHECKPOINT RUN [--steps 24]

RUN is a run that holds the pairs, such as one of `spavl train dpo`. Every weight but the vision tower's is trained, in
float32 and without dropout, so that the three differ by rounding only.
"""

import argparse
import copy
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from benchmarks.dpo_work.peer import NAME, train_with_trl
from tests.support.peak_memory import taken
from transformers import TrainerCallback

from spavl.models.backends.hf import load_checkpoint
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.training.config import LoopConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, train
from spavl.training.model.trainable import freeze_vision
from spavl.training.objectives.dpo import DPO
from spavl.training.objectives.microbatches import SampleOrder
from spavl.training.objectives.registry import ObjectiveInputs

IMAGES_A_STEP = 2
LEARNING_RATE, BETA, SEED = 5e-6, 0.1, 0
Side = Literal["trees", "plain", "trl"]
SIDES: tuple[Side, ...] = get_args(Side)


class Pairs(NamedTuple):
    """The pairs of some images, and the bytes of these by their hashes."""

    samples: list[Sample]
    blobs: dict[str, bytes]
    a_step: int

    @property
    def order(self) -> SampleOrder:
        return SampleOrder(self.samples, self.a_step, 1, SEED, "images")


def pairs_of(folder: Path, steps: int) -> Pairs:
    with RunFolder(folder, look_only=True) as run:
        by_image: dict[str, list[Sample]] = {}
        for sample in run.read("dataset", Sample):
            if sample.split == "train":
                by_image.setdefault(sample.blob, []).append(sample)
        questions = max(map(len, by_image.values()))
        # Of every kind of image: the table has them in the order of their folders.
        whole = [image for image, own in by_image.items() if len(own) == questions]
        chosen = whole[:: max(1, len(whole) // (IMAGES_A_STEP * steps))][: IMAGES_A_STEP * steps]
        samples = [sample for image in chosen for sample in by_image[image]]
        return Pairs(samples, {image: run.blobs.get(image) for image in chosen}, IMAGES_A_STEP * questions)


class OurTraining:
    """A DPO training of spavl that takes one step when it is its turn."""

    def __init__(self, checkpoint: str, pairs: Pairs, share_prefixes: bool) -> None:
        processor, self.model = loaded(checkpoint)
        self._folder = tempfile.TemporaryDirectory()
        settings = TrainingConfig.model_validate(
            {
                "algorithm": "dpo",
                "dpo": {"beta": BETA},
                "batch_size": pairs.a_step,
                "share_prefixes": share_prefixes,
                "loop": LoopConfig(learning_rate=LEARNING_RATE, warmup_steps=0, save_every=10**6),
            }
        )
        inputs = ObjectiveInputs(
            model=self.model,
            processor=processor,
            samples=pairs.samples,
            image=pairs.blobs.__getitem__,
            settings=settings,
            seed=SEED,
        )
        self._dpo = DPO(inputs)
        self._dpo.step_batches.check()
        list(self._dpo.reference.score_missing())
        self._steps = train(self._dpo, settings.loop, Checkpoints(Path(self._folder.name)))
        self.losses, self.seconds = list[float](), list[float]()

    def step(self) -> None:
        done = next(self._steps)
        self.losses.append(done.metrics["loss"])
        self.seconds.append(done.seconds)


class TakeTurns(TrainerCallback):  # type: ignore[misc]
    """Lets the others take a step after each step of TRL, so that a busy machine slows all of them alike."""

    def __init__(self, others: Sequence[OurTraining]) -> None:
        self._others = others

    def on_step_end(self, *_: Any, **__: Any) -> None:
        for each in self._others:
            each.step()


def loaded(checkpoint: str) -> tuple[Any, Any]:
    processor, model = load_checkpoint(checkpoint)
    freeze_vision(model)
    return processor, model.float().eval()


def train_by_trl(checkpoint: str, pairs: Pairs, others: Sequence[OurTraining]) -> tuple[Any, list[float]]:
    processor, model = loaded(checkpoint)
    samples = [sample for step in range(pairs.order.steps) for sample in pairs.order.at(step)]
    settings = {
        "beta": BETA,
        "learning_rate": LEARNING_RATE,
        "per_device_train_batch_size": pairs.a_step,
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "seed": SEED,
    }
    callbacks = [TakeTurns(others)]
    losses = train_with_trl(
        model, processor, samples, pairs.blobs, settings, ref_model=copy.deepcopy(model), callbacks=callbacks
    )
    return model, losses


def difference(model: Any, other: Any) -> float:
    """The norm of the difference of all weights, in double precision."""
    theirs = dict(other.named_parameters())
    squares = ((weight.double() - theirs[name].double()).square().sum() for name, weight in model.named_parameters())
    return float(sum(squares)) ** 0.5


def two_steps(side: Side, checkpoint: str, run: str) -> None:
    """What the peak memory of a side is measured on, in a process of its own."""
    pairs = pairs_of(Path(run), 2)
    if side == "trl":
        train_by_trl(checkpoint, pairs, [])
        return
    training = OurTraining(checkpoint, pairs, share_prefixes=side == "trees")
    for _ in range(2):
        training.step()


def peak_mb(side: Side, checkpoint: str, run: Path) -> int:
    """The MB that two steps take, model included, beyond what is imported."""
    return taken("from reality.equality import two_steps", "two_steps(*sys.argv[1:])", side, checkpoint, run)


def compared(checkpoint: str, run: Path, steps: int) -> dict[str, Any]:
    # First, while this process holds no model.
    peaks = {side: peak_mb(side, checkpoint, run) for side in SIDES}
    pairs = pairs_of(run, steps)
    trees, plain = (OurTraining(checkpoint, pairs, share) for share in (True, False))
    by_trl, losses = train_by_trl(checkpoint, pairs, [trees, plain])
    changed = difference(trees.model, loaded(checkpoint)[1])
    ratios = [slow / fast for slow, fast in zip(plain.seconds[1:], trees.seconds[1:], strict=True)]
    curves = {"trees": trees.losses, "plain": plain.losses, "trl": losses}
    return {
        "peer": NAME,
        "steps": len(losses),
        "pairs_a_step": pairs.a_step,
        "losses": curves,
        "loss_apart_plain": max(_apart(trees.losses, plain.losses)),
        "loss_apart_trl": max(_apart(trees.losses, losses)),
        # Relative to what the training changed.
        "weights_apart_plain": difference(trees.model, plain.model) / changed,
        "weights_apart_trl": difference(trees.model, by_trl) / changed,
        "trees_over_plain": [statistics.median(ratios), min(ratios), max(ratios)],
        "peak_mb": peaks,
    }


def _apart(ones: Sequence[float], others: Sequence[float]) -> Iterator[float]:
    return (abs(one - other) for one, other in zip(ones, others, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="the model, a folder")
    parser.add_argument("run", type=Path, help="a run that holds pairs")
    parser.add_argument("--steps", type=int, default=24)
    asked = parser.parse_args()
    torch.manual_seed(SEED)
    print(json.dumps(compared(asked.checkpoint, asked.run, asked.steps)))


if __name__ == "__main__":
    main()
