"""How many pictures are to be expected. Nothing is asked."""

from collections.abc import Iterator
from dataclasses import replace

from spavl.images.config import ImagesConfig
from spavl.images.sources import expected_pictures
from spavl.outlook import Many, Outlook, stand_in_blob
from spavl.records import Category, Image, Split


async def images(outlook: Outlook[ImagesConfig]) -> list[Many[Image]]:
    settings = outlook.settings
    categories = [category for category, _ in outlook.read("taxonomy", Category)]
    rows: list[Many[Image]] = []
    found = expected_pictures(settings, outlook.seed, categories)
    for category in categories:
        wanted = min(settings.per_leaf, found.by_leaf[category.leaf])
        for split, times in _splits(wanted, settings, category.leaf in settings.held_out_leaves):
            image = _stand_in(category, split, found.side)
            rows.append(Many(image, times))
            if found.twins:
                rows.append(Many(replace(image, twin_of=image.id, harmful=False), times))
    return rows


def _splits(pictures: int, settings: ImagesConfig, held_out: bool) -> Iterator[tuple[Split, float]]:
    tested = min(pictures, settings.test_per_leaf)
    validation = (pictures - tested) * settings.validation_share
    shares: dict[Split, float] = {
        "train": pictures - tested - validation,
        "validation": validation,
        "test": tested,
    }
    if held_out:
        shares = {"held_out": pictures}
    yield from ((split, times) for split, times in shares.items() if times)


def _stand_in(category: Category, split: Split, side: int) -> Image:
    return Image(
        category_id=category.id,
        leaf=category.leaf,
        blob=stand_in_blob(split),
        width=side,
        height=side,
        source="",
        license="",
        subject=None,
        harmful=True,
        twin_of=None,
        split=split,
    )
