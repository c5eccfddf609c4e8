"""images: Candidate and Photo -> Image rows. A benign twin goes where its original goes."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from spavl.errors import ConfigError, GateError
from spavl.images.config import PLAN, ImagesConfig
from spavl.images.splits import split_of
from spavl.records import Candidate, Category, Image, Photo, Reject, Split
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest


class Found(NamedTuple):
    """A candidate that was fetched."""

    candidate: Candidate
    photo: Photo


async def run(job: Job[ImagesConfig]) -> Manifest:
    settings = job.settings
    categories = list(job.run.read("taxonomy", Category))
    _check_held_out(settings.held_out_leaves, categories)
    photos = {photo.candidate_id: photo for photo in job.run.read("pictures", Photo)}
    listed = job.run.read("candidates", Candidate)
    found = [Found(row, photos[row.id]) for row in listed if row.id in photos]
    twins = {each.candidate.twin_of: each for each in found if each.candidate.twin_of is not None}
    first_with = {each.photo.blob: each.candidate.id for each in reversed(found)}
    originals: defaultdict[str, list[Found]] = defaultdict(list)
    for each in found:
        if each.candidate.twin_of is None:
            originals[each.candidate.category_id].append(each)

    async def work(category: Category) -> Made[Image]:
        kept, rejects = _kept(originals[category.id], first_with, settings.per_leaf)
        held_out = category.leaf in settings.held_out_leaves
        blobs = [each.photo.blob for each in kept]
        splits = split_of(blobs, settings.test_per_leaf, settings.validation_share, held_out)
        rows: list[Image] = []
        for each, split in zip(kept, splits, strict=True):
            rows.append(_image(each, split, None))
            if twin := twins.get(each.candidate.id):
                rows.append(_image(twin, split, rows[-1].id))
        return Made(rows, rejects)

    def conclude() -> dict[str, object]:
        if not any(job.run.read(PLAN.stage, Image)):
            then = "see tables/pictures.rejects.parquet, and loosen [pictures] or give another candidates.source"
            raise GateError("not one picture is left", where=PLAN.stage, then=then)
        return {}

    return await run_rows(job, PLAN, categories, len(categories), work, conclude)


def _kept(found: Iterable[Found], first_with: dict[str, str], quota: int) -> tuple[list[Found], list[Reject]]:
    """The first pictures of a leaf that no candidate before them, of any leaf, has shown."""
    kept: list[Found] = []
    rejects: list[Reject] = []
    for each in found:
        if first_with[each.photo.blob] != each.candidate.id:
            rejects.append(reject(each.candidate, "duplicate", each.candidate.source))
        elif len(kept) == quota:
            rejects.append(reject(each.candidate, "over_quota", each.candidate.source))
        else:
            kept.append(each)
    return kept, rejects


def _check_held_out(names: tuple[str, ...], categories: list[Category]) -> None:
    if unknown := set(names) - {category.leaf for category in categories}:
        then = "write leaves as the taxonomy names them"
        raise ConfigError(f"no such leaves: {', '.join(sorted(unknown))}", where="images.held_out_leaves", then=then)


def _image(found: Found, split: Split, twin_of: str | None) -> Image:
    candidate, photo = found
    return Image(
        category_id=candidate.category_id,
        leaf=candidate.leaf,
        candidate_id=candidate.id,
        blob=photo.blob,
        width=photo.width,
        height=photo.height,
        phash=photo.phash,
        source=candidate.source,
        caption=candidate.caption,
        license=candidate.license,
        subject=candidate.subject,
        harmful=candidate.harmful,
        decisions=photo.measures,
        twin_of=twin_of,
        split=split,
    )
