"""images: Candidate and Photo -> Image rows. A benign twin goes where its original goes."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from spavl.errors import ConfigError, GateError
from spavl.images.choice import Chosen, Found, choose
from spavl.images.config import PLAN, ImagesConfig
from spavl.images.duplicates import near_duplicates
from spavl.images.relevance import Relevance, RelevanceCheck
from spavl.images.removals import is_removed, read_removals
from spavl.images.splits import split_of
from spavl.models.types import Picture
from spavl.records import Candidate, Category, Image, Photo, Reject, Split
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest


async def run(job: Job[ImagesConfig]) -> Manifest:
    settings = job.settings
    categories = list(job.run.read("taxonomy", Category))
    _check_held_out(settings.held_out_leaves, categories)
    check = RelevanceCheck(job.models.open(settings.relevance, PLAN.stage)) if settings.relevance else None
    removals, found = read_removals(settings.removals), list(_found(job))
    twins = {each.candidate.twin_of: each for each in found if each.candidate.twin_of is not None}
    firsts = [each for each in found if each.candidate.twin_of is None]
    originals, unfit = _sifted(firsts, removals, settings.near_duplicate_bits)

    async def work(category: Category) -> Made[Image]:
        async def ask(each: Found) -> Relevance:
            assert check is not None
            blob = each.photo.blob
            return await check.ask(Picture(blob, job.run.blobs.get(blob)), category)

        chosen, rejects = await choose(originals[category.id], settings.per_leaf, ask if check else None)
        held_out = category.leaf in settings.held_out_leaves
        blobs = [each.found.photo.blob for each in chosen]
        splits = split_of(blobs, settings.test_per_leaf, settings.validation_share, held_out)
        rows: list[Image] = []
        for each, split in zip(chosen, splits, strict=True):
            rows.append(_image(each.found, split, None, _decisions(each, check)))
            twin = twins.get(each.found.candidate.id)
            if twin and not is_removed(*twin, removals):
                rows.append(_image(twin, split, rows[-1].id, twin.photo.measures))
        return Made(rows, [*unfit[category.id], *rejects])

    return await run_rows(job, PLAN, categories, len(categories), work, lambda: _conclude(job, categories))


def _found(job: Job[ImagesConfig]) -> Iterator[Found]:
    """In the order of the candidates, on which alone it hangs who of two stays."""
    photos = {photo.candidate_id: photo for photo in job.run.read("pictures", Photo)}
    for candidate in job.run.read("candidates", Candidate):
        if photo := photos.get(candidate.id):
            yield Found(candidate, photo)


def _sifted(
    found: Sequence[Found], removals: frozenset[str], bits: int
) -> tuple[defaultdict[str, list[Found]], defaultdict[str, list[Reject]]]:
    """By category: the pictures that may be used, each of them once in the whole run, and what is not to be used."""
    fit: defaultdict[str, list[Found]] = defaultdict(list)
    unfit: defaultdict[str, list[Reject]] = defaultdict(list)
    for each, reason, why in _unfit(found, removals, bits):
        unfit[each.candidate.category_id].append(reject(each.candidate, reason, why))
    dropped = {lost.parent_id for rejects in unfit.values() for lost in rejects}
    for each in found:
        if each.candidate.id not in dropped:
            fit[each.candidate.category_id].append(each)
    return fit, unfit


def _unfit(found: Sequence[Found], removals: frozenset[str], bits: int) -> Iterator[tuple[Found, str, str]]:
    left: list[Found] = []
    first_with: dict[str, Found] = {}
    for each in found:
        if is_removed(*each, removals):
            yield each, "removed", each.candidate.source
        elif first_with.setdefault(each.photo.blob, each) is not each:
            yield each, "duplicate", each.candidate.source
        else:
            left.append(each)
    like = near_duplicates([each.photo.phash for each in left], bits) if bits >= 0 else {}
    for place, kept in like.items():
        source = left[place].candidate.source
        yield left[place], "near_duplicate", f"{source} is like {left[kept].candidate.source}"


def _decisions(chosen: Chosen, check: RelevanceCheck | None) -> tuple[str, ...]:
    if check is None:
        return chosen.found.photo.measures
    return (*chosen.found.photo.measures, f"relevance={chosen.relevance}", f"relevance_by={check.name}")


def _conclude(job: Job[ImagesConfig], categories: Sequence[Category]) -> dict[str, object]:
    """Say which leaves got fewer pictures than wanted, and how often the relevance could not be read."""
    images = [image for image in job.run.read(PLAN.stage, Image) if image.twin_of is None]
    if not images:
        then = "see tables/pictures.rejects.parquet, and loosen [pictures] or give another candidates.source"
        raise GateError("not one picture is left", where=PLAN.stage, then=then)
    wanted, got = job.settings.per_leaf, Counter(image.leaf for image in images)
    short = {category.leaf: wanted - got[category.leaf] for category in categories if got[category.leaf] < wanted}
    if short:
        worst = ", ".join(f"{leaf} {got[leaf]}" for leaf in sorted(short, key=lambda leaf: -short[leaf])[:5])
        job.screen.say(f"images: {len(short)} of {len(categories)} leaves have fewer than {wanted} pictures: {worst}")
    unread = sum("relevance=unread" in image.decisions for image in images)
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
