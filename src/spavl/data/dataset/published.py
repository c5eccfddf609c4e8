"""The rows of the published SPA-VL, column for column: its configs default, validation and test."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from spavl.data.dataset.shards import IMAGE, image_of
from spavl.records import Category, Image, Question, Sample
from spavl.store.blobs import Blobs
from spavl.store.lookup import Lookup

CLASSES = ("class1", "class2", "class3")
# Prefix of the decision of an imported image that holds its name in its data set.
IMAGE_NAME = "image_name="


def _schema(*strings: str) -> pa.Schema:
    return pa.schema([("image", IMAGE), *((name, pa.string()) for name in strings)])


TRAIN = _schema("question", "chosen", "rejected", "image_name")
VALIDATION = _schema("question", "chosen", "rejected", *CLASSES)
TEST = _schema("question", *CLASSES)


def class_columns(category: Category) -> dict[str, str]:
    return dict(zip(CLASSES, category.published, strict=True))


def image_name(decisions: Iterable[str], otherwise: str) -> str:
    """The name of an imported image in its data set, whose other files refer to it by that name; or `otherwise`."""
    named = (each.removeprefix(IMAGE_NAME) for each in decisions if each.startswith(IMAGE_NAME))
    return next(named, otherwise)


def pair_rows(
    samples: Iterable[Sample],
    images: Lookup[Image],
    leaves: Mapping[str, Category],
    blobs: Blobs,
    schema: pa.Schema,
) -> Iterator[dict[str, Any]]:
    """Rows of TRAIN or VALIDATION, with the columns of the schema."""
    for sample in samples:
        image = image_of(sample.blob, blobs)
        whole = {
            "image": image,
            "question": sample.question,
            "chosen": sample.chosen,
            "rejected": sample.rejected,
            "image_name": image_name(images[sample.image_id].decisions, image["path"]),
            **class_columns(leaves[sample.leaf]),
        }
        yield {name: whole[name] for name in schema.names}


def test_rows(
    questions: Iterable[Question], images: Lookup[Image], leaves: Mapping[str, Category], blobs: Blobs
) -> Iterator[dict[str, Any]]:
    for question in questions:
        image = images[question.image_id]
        yield {
            "image": image_of(image.blob, blobs),
            "question": question.text,
            **class_columns(leaves[image.leaf]),
        }
