"""Pairs of made-up answers for audits of shortcuts: mild words at random, with a shortcut planted or not."""

from collections.abc import Callable

import numpy as np

from spavl.records import Sample
from tests.support.images import encoded, photo
from tests.support.records import filled

WORDS = [f"word{number}" for number in range(30)]
Rng = np.random.Generator

# What is done to the two answers of a pair before one of them is drawn to be the chosen one.
Plant = Callable[[str, str, str], tuple[str, str]]


def nothing_planted(chosen: str, rejected: str, blob: str) -> tuple[str, str]:
    return chosen, rejected


def answer(rng: Rng) -> str:
    return " ".join(WORDS[place] for place in rng.integers(0, len(WORDS), rng.integers(3, 12)))


def pairs(rng: Rng, images: int = 60, of_each: int = 3, plant: Plant = nothing_planted) -> list[Sample]:
    """Pairs about images, in which nothing but what is planted tells the chosen answer from the rejected one."""
    found = []
    for image in range(images):
        for place in range(of_each):
            chosen, rejected = plant(answer(rng), answer(rng), f"image{image}")
            names = rng.permutation(["one", "two", "three"])
            found.append(
                filled(
                    Sample,
                    blob=f"image{image}",
                    image_id=f"image{image}",
                    question_id=f"image{image}-{place}",
                    question=f"What is this, {place}?",
                    leaf=f"leaf {image % 4}",
                    harmful=bool(image % 2),
                    chosen=chosen,
                    rejected=rejected,
                    chosen_model=str(names[0]),
                    rejected_model=str(names[1]),
                )
            )
    return found


def swap(sample: Sample) -> Sample:
    fields = sample.fields()
    for one, other in (("chosen", "rejected"), ("chosen_model", "rejected_model")):
        fields[one], fields[other] = fields[other], fields[one]
    return Sample(**fields)


def image_bytes(blob: str) -> bytes:
    return encoded(photo(int(blob.removeprefix("image")), 16), "PNG")
