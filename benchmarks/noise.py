"""How much noisier the gradient of a step of whole images is than that of as many pairs drawn one by one.

Both kinds of steps are dealt many times over the same gradients of single pairs: those of DPO on the miniature,
several questions about each image. `ratio` is the variance of a step of images over that of a step of pairs;
`told` is what the dry run says of it, which knows few of these gradients.

    python -m benchmarks.noise [--images 48] [--by dpo]
"""

import argparse
import json
import random
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from spavl.miniature.grammar import VERBS, speak_answer, speak_question
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.records import Sample
from spavl.training.config import TrainingConfig
from spavl.training.model.trainable import freeze_vision
from spavl.training.objectives.gradient_noise import (
    StepStatistics,
    gradients_of,
    noise_correlation,
    pairs_to_measure,
    step_statistics,
)
from spavl.training.objectives.microbatches import SampleOrder
from spavl.training.objectives.registry import ObjectiveInputs

PER_STEP, EPOCHS = 8, 200
# As many pairs about an image as the published SPA-VL has on average: 3.3.
_ABOUT = (2, 3, 3, 3, 4, 5)
_KINDS = ("easy", "hard", "statement")


def new_data(images: int) -> tuple[list[Sample], dict[str, bytes]]:
    rng, samples, blobs = random.Random(0), list[Sample](), dict[str, bytes]()
    for number in range(images):
        seen = scene(number % 40, number, 7, live=number % 2 == 0)
        blobs[str(number)] = png(draw(seen))
        for place in range(rng.choice(_ABOUT)):
            verb: Any = rng.choice(VERBS)
            kind: Any = rng.choice(_KINDS)
            one = _pair(f"{number}/{place}", str(number), speak_question(rng, kind, verb))
            safe, unsafe = (speak_answer(rng, seen, verb, manner) for manner in ("reasoned", "full"))
            samples.append(replace(one, chosen=safe, rejected=unsafe))
    return samples, blobs


def _pair(name: str, blob: str, question: str) -> Sample:
    names = ("leaf", "image_id", "preference_id", "chosen", "rejected", "chosen_model", "rejected_model")
    return Sample(
        split="train",
        blob=blob,
        question_id=name,
        kind="easy",
        harmful=True,
        contrast="safety",
        question=question,
        **dict.fromkeys(names, ""),
    )


def variance(
    samples: list[Sample], gradients: dict[str, Tensor], of: Literal["images", "pairs"]
) -> tuple[float, StepStatistics]:
    order = SampleOrder(samples, PER_STEP, EPOCHS, 0, of)
    steps = [order.at(number) for number in range(order.steps)]
    means = torch.stack([torch.stack([gradients[sample.id] for sample in step]).mean(0) for step in steps])
    return float(means.var(0).sum()), step_statistics(steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--by", choices=["dpo", "sft", "reward"], default="dpo")
    asked = parser.parse_args()
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float32")
    freeze_vision(model)
    samples, blobs = new_data(asked.images)
    given = ObjectiveInputs(
        model=model.train(),
        processor=processor,
        samples=samples,
        image=blobs.__getitem__,
        settings=TrainingConfig(algorithm=asked.by),
        seed=0,
    )
    found = gradients_of(given, samples)
    few = pairs_to_measure(samples)
    told = noise_correlation(gradients_of(given, few))
    # One number of each hundred is enough of a gradient for its variance, and 200 epochs of steps fit into memory.
    by_id = {sample.id: numbers[::100] for sample, (_, numbers) in zip(_in_order(samples), found, strict=True)}
    (grouped, images), (free, pairs) = (variance(samples, by_id, of) for of in ("images", "pairs"))
    line = {
        "name": f"step_noise_{asked.by}",
        "ratio": round(grouped / free, 3),
        "told": round(pairs.independent_pairs(told) / images.independent_pairs(told), 3),
        "pairs_of_a_step": round(images.pairs, 2),
        "images_of_a_step": round(images.images, 2),
        "images_of_a_step_of_pairs": round(pairs.images, 2),
        "likeness": round(noise_correlation(found), 3),
        "likeness_told": round(told, 3),
        "independent_pairs": round(images.independent_pairs(noise_correlation(found)), 2),
        "pairs_tried": len(samples),
    }
    print(json.dumps(line))


def _in_order(samples: list[Sample]) -> list[Sample]:
    """As the gradients were computed."""
    order = SampleOrder(samples, 1, 1, 0, "pairs")
    return [order.at(number)[0] for number in range(order.steps)]


if __name__ == "__main__":
    main()
