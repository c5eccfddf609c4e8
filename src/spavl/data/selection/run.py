"""selection: Candidate and DownloadedImage rows -> Image rows. A benign twin gets its original's split."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from spavl.data.selection.config import SPEC, SelectionConfig
from spavl.data.selection.image_pool import FetchedCandidate, ImagePool, stock_of
from spavl.data.selection.notes import SelectionNotes
from spavl.data.selection.quotas import Selection, choose
from spavl.data.selection.relevance import Relevance, RelevanceCheck
from spavl.data.selection.removals import is_removed, read_removals
from spavl.data.selection.splits import split_of
from spavl.engine.details import ImageDetails, open_details
from spavl.errors import ConfigError, GateError
from spavl.models.call_outcomes import CallOutcomes, listen, note_answer, note_refusal
from spavl.models.types import ImageData
from spavl.records import Candidate, Category, DownloadedImage, Image, Reject, Split
from spavl.stages.context import RowResult, StageContext, reject
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.text.nearest import suggestion

T = TypeVar("T")


async def run(context: StageContext[SelectionConfig]) -> Manifest:
    with open_details(context.run.blobs.get) as details:
        return await _run(context, details)


async def _run(context: StageContext[SelectionConfig], details: ImageDetails) -> Manifest:
    settings = context.settings
    categories = list(context.run.read("taxonomy", Category))
    check_held_out(settings.held_out_leaves, categories)
    check = RelevanceCheck(context.models.open(settings.relevance, SPEC.stage)) if settings.relevance else None
    removals = read_removals(settings.removals)
    candidates = context.run.lookup("sourcing", Candidate, by="category_id")
    downloads = context.run.lookup("downloads", DownloadedImage, by="candidate_id")
    numbers = {category.id: number for number, category in enumerate(categories)}

    def with_downloads(rows: Iterable[Candidate]) -> Iterator[FetchedCandidate]:
        return (FetchedCandidate(row, downloaded) for row in rows if (downloaded := downloads.get(row.id)))

    def fit() -> Iterator[FetchedCandidate]:
        originals = (row for row in context.run.read("sourcing", Candidate) if row.twin_of is None)
        return (each for each in with_downloads(originals) if not is_removed(*each, removals))

    stock = stock_of(fit(), numbers, settings.near_duplicate_bits, details.alike)

    async def find() -> tuple[Selection, dict[int, str]]:
        ask = partial(_ask, context, check, stock, categories) if check else None
        choice = await choose(stock.leaves, stock.looks, settings.per_leaf, ask)
        return choice, {place: each.candidate.source for place, each in enumerate(fit()) if place in choice.used}

    chosen_of_all = _FirstResult(find)

    async def work(category: Category) -> RowResult[Image]:
        choice, sources = await chosen_of_all.get()
        found = list(with_downloads(candidates.all(category.id)))
        twins = {each.candidate.twin_of: each for each in found if each.candidate.twin_of is not None}
        originals = [each for each in found if each.candidate.twin_of is None]
        removed = [each for each in originals if is_removed(*each, removals)]
        listed = [each for each in originals if not is_removed(*each, removals)]
        by_place = dict(zip(stock.of_leaf(numbers[category.id]), listed, strict=True))
        chosen = {place: each for place, each in by_place.items() if place in choice.used}
        rows: list[Image] = []
        for place, each in chosen.items():
            split = _split(context, category, each.downloaded.blob)
            rows.append(_image(each, split, None, _decisions(each, choice.used[place], check)))
            twin = twins.get(each.downloaded.candidate_id)
            if twin and not is_removed(*twin, removals):
                rows.append(_image(twin, split, rows[-1].id, twin.downloaded.measures))
        rejects = [reject(each.candidate, "removed", each.candidate.source) for each in removed]
        unused = by_place.keys() - chosen.keys()
        rejects += [_reject_of_unused(place, by_place[place], stock, choice, sources) for place in sorted(unused)]
        return RowResult(rows, rejects)

    return await run_rows(context, SPEC, categories, len(categories), work, lambda: _conclude(context, categories))


class _FirstResult(Generic[T]):
    """A result that is computed once for all inputs of the stage, and again if that failed, as with a pending batch."""

    def __init__(self, find: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._find = find
        self._task: asyncio.Task[tuple[T, CallOutcomes]] | None = None

    async def get(self) -> T:
        if self._task is None or (self._task.done() and self._task.exception()):
            self._task = asyncio.create_task(self._listening())
        found, heard = await self._task
        # Every input of the stage depends on all of these calls.
        for model in heard.answered:
            note_answer(model)
        for model, reason in heard.refused.items():
            note_refusal(model, reason)
        return found

    async def _listening(self) -> tuple[T, CallOutcomes]:
        heard = listen()
        return await self._find(), heard


async def _ask(
    context: StageContext[SelectionConfig],
    check: RelevanceCheck,
    stock: ImagePool,
    categories: Sequence[Category],
    places: Sequence[int],
) -> list[Relevance]:
    """Ask whether each image belongs to its leaf. At most `in_flight` images are in memory at once."""
    slots = asyncio.Semaphore(context.in_flight)
    with context.screen.bar("relevance", len(places), unit="images") as bar:

        async def ask(place: int) -> Relevance:
            async with slots:
                blob = stock.blob(place)
                word = await check.ask(ImageData(blob, context.run.blobs.get(blob)), categories[stock.leaves[place]])
                bar.advance(rejected=word == "no")
                return word

        # All calls finish before an error of one is raised, so that no call is left running.
        words = await asyncio.gather(*map(ask, places), return_exceptions=True)
    for word in words:
        if isinstance(word, BaseException):
            raise word
    return [word for word in words if not isinstance(word, BaseException)]


def _reject_of_unused(
    place: int, found: FetchedCandidate, stock: ImagePool, choice: Selection, sources: Mapping[int, str]
) -> Reject:
    """The reject of an unused image: it is irrelevant, a (near) duplicate of a used one, or over the quota."""
    candidate = found.candidate
    if place in choice.irrelevant:
        return reject(candidate, "irrelevant", candidate.source)
    like = choice.taken.get(int(stock.looks.of[place]))
    if like is None:
        return reject(candidate, "over_quota", candidate.source)
    if stock.blob(like) == found.downloaded.blob:
        return reject(candidate, "duplicate", candidate.source)
    return reject(candidate, "near_duplicate", f"{candidate.source} is like {sources[like]}")


def _decisions(chosen: FetchedCandidate, relevance: Relevance | None, check: RelevanceCheck | None) -> tuple[str, ...]:
    if check is None:
        return chosen.downloaded.measures
    return (*chosen.downloaded.measures, f"relevance={relevance}", f"relevance_by={check.name}")


def _conclude(context: StageContext[SelectionConfig], categories: Sequence[Category]) -> SelectionNotes:
    """Report leaves with too few images, and a run without training images. Raises GateError if no image is left."""
    got, unread, splits = Counter[str](), 0, Counter[str]()
    for image in context.run.read(SPEC.stage, Image):
        if image.twin_of is None:
            got[image.leaf] += 1
            splits[image.split] += 1
            unread += "relevance=unread" in image.decisions
    if not got:
        then = "see tables/selection.rejects.parquet, and loosen [selection] or give another sourcing.source"
        raise GateError("not one image is left", where=SPEC.stage, then=then)
    if not splits["train"]:
        told = ", ".join(f"{number} {split}" for split, number in splits.items())
        context.screen.say(
            f"images: none is left to train on ({told}): raise selection.per_leaf or lower selection.test_share"
        )
    wanted = context.settings.per_leaf
    short = {category.leaf: wanted - got[category.leaf] for category in categories if got[category.leaf] < wanted}
    if short:
        worst = ", ".join(f"{leaf} {got[leaf]}" for leaf in sorted(short, key=lambda leaf: -short[leaf])[:5])
        context.screen.say(f"images: {len(short)} of {len(categories)} leaves have fewer than {wanted} images: {worst}")
    return SelectionNotes(shortfall=short, relevance_unread=unread)


def _split(context: StageContext[SelectionConfig], category: Category, blob: str) -> Split:
    if category.leaf in context.settings.held_out_leaves:
        return "held_out"
    return split_of(blob, context.seed, context.settings.test_share, context.settings.validation_share)


def check_held_out(names: tuple[str, ...], categories: list[Category]) -> None:
    """Raise ConfigError if the taxonomy does not have one of these leaves."""
    known = [category.leaf for category in categories]
    if unknown := sorted(set(names) - set(known)):
        then = suggestion(unknown[0], known, "leaves of this taxonomy")
        raise ConfigError(f"no such leaves: {', '.join(unknown)}", where="selection.held_out_leaves", then=then)


def _image(found: FetchedCandidate, split: Split, twin_of: str | None, decisions: tuple[str, ...]) -> Image:
    candidate, downloaded = found
    return Image(
        category_id=candidate.category_id,
        leaf=candidate.leaf,
        candidate_id=candidate.id,
        blob=downloaded.blob,
        width=downloaded.width,
        height=downloaded.height,
        phash=downloaded.phash,
        source=candidate.source,
        caption=candidate.caption,
        license=candidate.license,
        subject=candidate.subject,
        harmful=candidate.harmful,
        decisions=decisions,
        twin_of=twin_of,
        split=split,
    )
