"""How noisy the gradient of a step is: of how many independent pairs it is worth.

Pairs about one image pull the weights alike. Of n pairs in images of m pairs each, the gradient's variance is
1 + likeness * (m - 1) times that of n independent ones, where likeness is the correlation of the noise in two pairs'
gradients about one image. It is measured on gradients of single pairs, a million of their numbers each.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spavl.records import Sample
from spavl.training.objectives.dpo import DPO
from spavl.training.objectives.registry import OBJECTIVES, ObjectiveInputs

# Enough that the likeness is known to about a tenth, in the time of a few steps.
_PAIRS, _IMAGES, _OF_AN_IMAGE = 24, 12, 3
_NUMBERS = 2**20


class StepStatistics(NamedTuple):
    """What a step of an epoch holds, on average, and how many pairs there are about the image of a pair of it."""

    pairs: float
    images: float
    of_an_image: float

    def worth(self, likeness: float) -> float:
        """Of how many independent pairs such a step's gradient is worth."""
        return self.pairs / (1 + likeness * (self.of_an_image - 1))


def made_of(steps: Iterable[Sequence[Sample]]) -> StepStatistics:
    held = [Counter(sample.blob for sample in step) for step in steps]
    pairs = sum(each.total() for each in held)
    squares = sum(number**2 for each in held for number in each.values())
    return StepStatistics(pairs / len(held), sum(map(len, held)) / len(held), squares / pairs)


def tried(samples: Sequence[Sample]) -> list[Sample]:
    """A few pairs of images that have several; none where each image has one."""
    images: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.id):
        images.setdefault(sample.blob, []).append(sample)
    several = [of_image[:_OF_AN_IMAGE] for of_image in images.values() if len(of_image) > 1][:_IMAGES]
    return [sample for of_image in several for sample in of_image][:_PAIRS] if len(several) > 1 else []


def numbers_of(module: nn.Module) -> Tensor:
    """Of the gradient that is in the module so many numbers as are looked at, evenly over all of it."""
    gradients = [each.grad.detach().flatten() for each in module.parameters() if each.grad is not None]
    stride = math.ceil(sum(map(len, gradients)) / _NUMBERS)
    return torch.cat([each[::stride].float().cpu() for each in gradients])


def likeness_of(gradients: Sequence[tuple[str, Tensor]]) -> float:
    """The correlation of what two gradients about one image have beside the gradient of all; at least none."""
    images = [image for image, _ in gradients]
    product_PP = (stacked := torch.stack([numbers for _, numbers in gradients]).double()) @ stacked.T
    is_same_PP = torch.tensor([[one == other for other in images] for one in images])
    own_PP = torch.eye(len(images), dtype=torch.bool)
    common = product_PP[~is_same_PP].mean()
    alike, alone = product_PP[is_same_PP & ~own_PP].mean() - common, product_PP[own_PP].mean() - common
    return min(1.0, max(0.0, float(alike / alone)))


def gradients_of(given: ObjectiveInputs, samples: Sequence[Sample]) -> list[tuple[str, Tensor]]:
    """Of each pair alone, with the image that it is about."""
    alone = given.settings.model_copy(update={"batch_size": 1, "epochs": 1, "batch_by": "pairs"})
    task: Any = OBJECTIVES[alone.algorithm](given._replace(samples=samples, settings=alone))
    found = []
    for number in range(task.steps):
        if isinstance(task, DPO):
            task.prepare_for(number)
        task.module.zero_grad()
        for batch in task.passes(number):
            with task.step_batches.computing():
                loss = task.loss(task.module, batch)
            torch.autograd.backward(loss.value)
        (sample,) = task.step_batches.step(number)
        found.append((sample.blob, numbers_of(task.module)))
    task.module.zero_grad()
    return found
