"""images: Category -> Image rows, and their bytes as blobs."""

from spavl.errors import ConfigError
from spavl.images.config import PLAN, ImagesConfig
from spavl.images.decode import Undecodable, decode
from spavl.images.sources import Found, open_source
from spavl.images.splits import split_of
from spavl.records import Category, Image, Reject, Split
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest


async def run(job: Job[ImagesConfig]) -> Manifest:
    settings = job.settings
    categories = list(job.run.read("taxonomy", Category))
    source = open_source(settings, job.seed, categories)
    _check_held_out(settings.held_out_leaves, categories)

    async def work(category: Category) -> Made[Image]:
        kept: dict[str, Found] = {}
        rejects: list[Reject] = []
        for found in source.pictures(category):
            if len(kept) == settings.per_leaf:
                break
            reason = _unfit(found, settings.smallest_side)
            blob = job.run.blobs.put(found.data) if reason is None else ""
            if reason is None and blob not in kept:
                kept[blob] = found
            else:
                rejects.append(reject(category, reason or "duplicate", found.source))
        held_out = category.leaf in settings.held_out_leaves
        splits = split_of(list(kept), settings.test_per_leaf, settings.validation_share, held_out)
        rows: list[Image] = []
        for (blob, found), split in zip(kept.items(), splits, strict=True):
            image = _image(category, found, blob, split, None)
            rows.append(image)
            if found.twin is not None:
                twin_blob = job.run.blobs.put(found.twin.data)
                rows.append(_image(category, found.twin, twin_blob, split, image.id))
        return Made(rows, rejects)

    return await run_rows(job, PLAN, categories, len(categories), work)


def _check_held_out(names: tuple[str, ...], categories: list[Category]) -> None:
    if unknown := set(names) - {category.leaf for category in categories}:
        then = "write leaves as the taxonomy names them"
        raise ConfigError(f"no such leaves: {', '.join(sorted(unknown))}", where="images.held_out_leaves", then=then)


def _unfit(found: Found, smallest_side: int) -> str | None:
    """Why a picture cannot be used, if it cannot."""
    try:
        picture = decode(found.data)
    except Undecodable as error:
        return str(error)
    return "too_small" if min(picture.size) < smallest_side else None


def _image(category: Category, found: Found, blob: str, split: Split, twin_of: str | None) -> Image:
    width, height = decode(found.data).size
    return Image(
        category_id=category.id,
        leaf=category.leaf,
        blob=blob,
        width=width,
        height=height,
        source=found.source,
        license=found.license,
        subject=found.subject,
        harmful=twin_of is None,
        twin_of=twin_of,
        split=split,
    )
