"""Cost estimate: the expected number of images, and the calls of the model that checks relevance."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from spavl.data.selection.config import SelectionConfig
from spavl.data.selection.relevance import RelevanceCheck
from spavl.miniature import world
from spavl.records import Candidate, Category, Image, Split
from spavl.stages.cost_model import CostContext, WeightedRow, stand_in_blob

# The side assumed of images that are not downloaded yet.
_USUAL_SIDE = 1024
# Relevance calls per used image, assumed for images found by a search; and the words of a one-line answer.
_ASKED_PER_USED, _WORDS = 1.5, 2


async def selection(context: CostContext[SelectionConfig]) -> list[WeightedRow[Image]]:
    settings = context.settings
    candidates = context.read("sourcing", Candidate)
    listed: Counter[str] = Counter()
    for candidate, times in candidates:
        listed[candidate.leaf] += int(times) if candidate.twin_of is None else 0
    first = {candidate.leaf: candidate for candidate, _ in reversed(candidates) if candidate.twin_of is None}
    with_twins = {candidate.leaf for candidate, _ in candidates if candidate.twin_of is not None}
    rows: list[WeightedRow[Image]] = []
    for leaf, candidate in first.items():
        wanted = min(settings.per_leaf, listed[leaf])
        for split, times in _splits(wanted, settings, leaf in settings.held_out_leaves):
            image = _stand_in(candidate, split)
            rows.append(WeightedRow(image, times))
            if leaf in with_twins:
                rows.append(WeightedRow(replace(image, twin_of=image.id, harmful=False), times))
    if settings.relevance:
        await _check_relevance(context, [many for many in rows if many.row.twin_of is None])
    return rows


async def _check_relevance(context: CostContext[SelectionConfig], originals: list[WeightedRow[Image]]) -> None:
    leaves = {category.id: category for category, _ in context.read("taxonomy", Category)}
    for image, times in originals:
        model = context.open(context.settings.relevance, times * _ASKED_PER_USED, _WORDS)
        await RelevanceCheck(model).ask(context.image(image), leaves[image.category_id])


def _splits(images: int, settings: SelectionConfig, held_out: bool) -> Iterator[tuple[Split, float]]:
    tested = images * settings.test_share
    validation = (images - tested) * settings.validation_share
    shares: dict[Split, float] = {
        "train": images - tested - validation,
        "validation": validation,
        "test": tested,
    }
    if held_out:
        shares = {"held_out": images}
    yield from ((split, times) for split, times in shares.items() if times)


def _stand_in(candidate: Candidate, split: Split) -> Image:
    side = world.SIZE if candidate.source.startswith("miniature/") else _USUAL_SIDE
    return Image(
        category_id=candidate.category_id,
        leaf=candidate.leaf,
        candidate_id=candidate.id,
        blob=stand_in_blob(split),
        width=side,
        height=side,
        phash="",
        source=candidate.source,
        caption=candidate.caption,
        license=candidate.license,
        subject=None,
        harmful=True,
        decisions=(),
        twin_of=None,
        split=split,
    )
