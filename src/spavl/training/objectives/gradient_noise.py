"""The gradient noise of a step: the number of independent pairs that would have the same.

The gradients of pairs about one image are correlated. With n pairs in images of m pairs each, the variance of the
gradient is 1 + correlation * (m - 1) times that of n independent pairs, where correlation is that of the noise in the
gradients of two pairs about one image. It is measured on gradients of single pairs, on a million entries of each.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spavl.errors import InternalError
from spavl.records import Sample
from spavl.training.objectives.registry import ObjectiveInputs, new_objective

# Enough to know the correlation to about 0.1, in the time of a few steps.
_PAIRS, _IMAGES, _PAIRS_PER_IMAGE = 24, 12, 3
_ENTRIES = 2**20


class StepStatistics(NamedTuple):
    """The mean number of pairs and images of a step, and of pairs about the image of a pair."""

    pairs: float
    images: float
    pairs_per_image: float

    def independent_pairs(self, correlation: float) -> float:
        """The number of independent pairs whose gradient has the same noise as that of such a step."""
        return self.pairs / (1 + correlation * (self.pairs_per_image - 1))


def step_statistics(steps: Iterable[Sequence[Sample]]) -> StepStatistics:
    counts = [Counter(sample.blob for sample in step) for step in steps]
    pairs = sum(each.total() for each in counts)
    squares = sum(number**2 for each in counts for number in each.values())
    return StepStatistics(pairs / len(counts), sum(map(len, counts)) / len(counts), squares / pairs)


def pairs_to_measure(samples: Sequence[Sample]) -> list[Sample]:
    """Some pairs of images that have several; none if each image has one."""
    images: dict[str, list[Sample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.id):
        images.setdefault(sample.blob, []).append(sample)
    several = [of_image[:_PAIRS_PER_IMAGE] for of_image in images.values() if len(of_image) > 1][:_IMAGES]
    return [sample for of_image in several for sample in of_image][:_PAIRS] if len(several) > 1 else []


def gradient_entries(module: nn.Module) -> Tensor:
    """A million entries of the gradient in the module, evenly spaced."""
    gradients = [each.grad.detach().flatten() for each in module.parameters() if each.grad is not None]
    stride = math.ceil(sum(map(len, gradients)) / _ENTRIES)
    return torch.cat([each[::stride].float().cpu() for each in gradients])


def noise_correlation(gradients: Sequence[tuple[str, Tensor]]) -> float:
    """The correlation of the noise in two gradients about one image, not below 0."""
    images = [image for image, _ in gradients]
    product_PP = (stacked := torch.stack([numbers for _, numbers in gradients]).double()) @ stacked.T
    is_same_PP = torch.tensor([[one == other for other in images] for one in images])
    own_PP = torch.eye(len(images), dtype=torch.bool)
    common = product_PP[~is_same_PP].mean()
    covariance, variance = product_PP[is_same_PP & ~own_PP].mean() - common, product_PP[own_PP].mean() - common
    return min(1.0, max(0.0, float(covariance / variance)))


def gradients_of(inputs: ObjectiveInputs, samples: Sequence[Sample]) -> list[tuple[str, Tensor]]:
    """The image of each pair, and the gradient of this pair alone."""
    single = inputs.settings.model_copy(update={"batch_size": 1, "epochs": 1, "batch_by": "pairs"})
    objective = new_objective(replace(inputs, samples=samples, settings=single))
    if objective.step_batches is None:
        raise InternalError("only an objective on given answers has gradients of single pairs")
    found = []
    for number in range(objective.steps):
        objective.prepare_step(number)
        objective.module.zero_grad()
        for batch in objective.microbatches(number):
            with objective.step_batches.computing():
                loss = objective.loss(objective.module, batch)
            torch.autograd.backward(loss.value)
        (sample,) = objective.step_batches.step(number)
        found.append((sample.blob, gradient_entries(objective.module)))
    objective.module.zero_grad()
    return found
