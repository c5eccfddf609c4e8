"""images: Candidate and Photo -> Image rows. A benign twin goes where its original goes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from spavl.errors import ConfigError, GateError
from spavl.images.choice import Chosen, Found, choose
from spavl.images.config import PLAN, ImagesConfig
from spavl.images.relevance import Relevance, RelevanceCheck
from spavl.images.removals import is_removed, read_removals
from spavl.images.sifting import sift
from spavl.images.splits import split_of
from spavl.models.types import Picture
from spavl.records import Candidate, Category, Image, Photo, Split
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest


async def run(job: Job[ImagesConfig]) -> Manifest:
    settings = job.settings
    categories = list(job.run.read("taxonomy", Category))
    _check_held_out(settings.held_out_leaves, categories)
    check = RelevanceCheck(job.models.open(settings.relevance, PLAN.stage)) if settings.relevance else None
    removals = read_removals(settings.removals)
    candidates = job.run.lookup("candidates", Candidate, by="category_id")
    photos = job.run.lookup("pictures", Photo, by="candidate_id")

    def listed() -> Iterator[Candidate]:
        return job.run.read("candidates", Candidate)

    def with_photos(rows: Iterable[Candidate]) -> Iterator[Found]:
        return (Found(row, photo) for row in rows if (photo := photos.get(row.id)))

    originals = with_photos(row for row in listed() if row.twin_of is None)
    unfit = sift(originals, removals, settings.near_duplicate_bits, listed)

    async def work(category: Category) -> Made[Image]:
        async def ask(each: Found) -> Relevance:
            assert check is not None
            blob = each.photo.blob
            return await check.ask(Picture(blob, job.run.blobs.get(blob)), category)

        found = list(with_photos(candidates.all(category.id)))
        twins = {each.candidate.twin_of: each for each in found if each.candidate.twin_of is not None}
        firsts = [each for each in found if each.candidate.twin_of is None]
        # The same as the candidate's id, which would have to be hashed.
        fit = [each for each in firsts if each.photo.candidate_id not in unfit]
        out = [reject(each.candidate, *unfit[name]) for each in firsts if (name := each.photo.candidate_id) in unfit]
        chosen, rejects = await choose(fit, settings.per_leaf, ask if check else None)
        held_out = category.leaf in settings.held_out_leaves
        blobs = [each.found.photo.blob for each in chosen]
        splits = split_of(blobs, settings.test_per_leaf, settings.validation_share, held_out)
        rows: list[Image] = []
        for each, split in zip(chosen, splits, strict=True):
            rows.append(_image(each.found, split, None, _decisions(each, check)))
            twin = twins.get(each.found.photo.candidate_id)
            if twin and not is_removed(*twin, removals):
                rows.append(_image(twin, split, rows[-1].id, twin.photo.measures))
        return Made(rows, [*out, *rejects])

    return await run_rows(job, PLAN, categories, len(categories), work, lambda: _conclude(job, categories))


def _decisions(chosen: Chosen, check: RelevanceCheck | None) -> tuple[str, ...]:
    if check is None:
        return chosen.found.photo.measures
    return (*chosen.found.photo.measures, f"relevance={chosen.relevance}", f"relevance_by={check.name}")


def _conclude(job: Job[ImagesConfig], categories: Sequence[Category]) -> dict[str, object]:
    """Say which leaves got fewer pictures than wanted, and how often the relevance could not be read."""
    got, unread = Counter[str](), 0
    for image in job.run.read(PLAN.stage, Image):
        if image.twin_of is None:
            got[image.leaf] += 1
            unread += "relevance=unread" in image.decisions
    if not got:
        then = "see tables/pictures.rejects.parquet, and loosen [pictures] or give another candidates.source"
        raise GateError("not one picture is left", where=PLAN.stage, then=then)
    wanted = job.settings.per_leaf
    short = {category.leaf: wanted - got[category.leaf] for category in categories if got[category.leaf] < wanted}
    if short:
        worst = ", ".join(f"{leaf} {got[leaf]}" for leaf in sorted(short, key=lambda leaf: -short[leaf])[:5])
        job.screen.say(f"images: {len(short)} of {len(categories)} leaves have fewer than {wanted} pictures: {worst}")
    return {"shortfall": short, "relevance_unread": unread}


def _check_held_out(names: tuple[str, ...], categories: list[Category]) -> None:
    if unknown := set(names) - {category.leaf for category in categories}:
        then = "write leaves as the taxonomy names them"
        raise ConfigError(f"no such leaves: {', '.join(sorted(unknown))}", where="images.held_out_leaves", then=then)


def _image(found: Found, split: Split, twin_of: str | None, decisions: tuple[str, ...]) -> Image:
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
        decisions=decisions,
        twin_of=twin_of,
        split=split,
    )
