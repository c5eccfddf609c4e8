"""What became of the images on their way to being used: each filter with its limit, and leaves left short."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spavl.store import Manifest

# The reason of each filter's rejects, the setting that turns it on, and what it asks of an image.
_FILTERS = (
    ("too_small", "downloads.min_side", "shorter side of at least {} pixels"),
    ("too_wide", "downloads.max_aspect_ratio", "longer side at most {} times the shorter"),
    ("unlike_caption", "downloads.min_similarity", "likeness to its caption of at least {}"),
    ("porn", "downloads.max_nudity", "score of nudity of at most {}"),
    ("too_many_words", "downloads.max_text_area", "text over at most {} of it"),
    ("removed", "selection.removals", "not taken out by hand, in {}"),
    ("near_duplicate", "selection.near_duplicate_bits", "hash unlike all others in more than {} of 64 bits"),
    ("irrelevant", "selection.relevance", "belongs to its leaf, says {}"),
)
_LEAVES_NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    setting: str
    asks: str
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterFunnel:
    candidates: int
    fit: int
    used: int
    # Images wanted for each leaf.
    quota: int
    filters: tuple[FunnelStep, ...]
    # The settings of filters that were not turned on.
    off: tuple[str, ...]
    # The leaves with fewer images than wanted, those first that lack most; the first of them by name.
    short: int
    lacking: tuple[tuple[str, int], ...]
    unread: int


def funnel_of(stages: Sequence[Manifest], settings: Mapping[str, Any]) -> FilterFunnel | None:
    done = {manifest.stage: manifest for manifest in stages}
    if not {"sourcing", "downloads", "selection"} <= done.keys() or not settings:
        return None
    image_list, images = done["downloads"], done["selection"]
    dropped = image_list.rejects | images.rejects
    on = [row for row in _FILTERS if _is_on(settings.get(row[1]))]
    shortfall: Mapping[str, int] = images.notes.get("shortfall") or {}  # type: ignore[assignment]
    lacking = sorted(shortfall.items(), key=lambda leaf: (-leaf[1], leaf[0]))
    unread = images.notes.get("relevance_unread")
    return FilterFunnel(
        candidates=done["sourcing"].rows,
        fit=image_list.rows,
        used=images.rows,
        quota=int(settings["selection.per_leaf"]),
        filters=tuple(
            FunnelStep(setting=name, asks=asks.format(settings[name]), dropped=dropped.get(reason, 0))
            for reason, name, asks in on
        ),
        off=tuple(name for _, name, _ in _FILTERS if not _is_on(settings.get(name))),
        short=len(lacking),
        lacking=tuple(lacking[:_LEAVES_NAMED]),
        unread=unread if isinstance(unread, int) else 0,
    )


def _is_on(limit: object) -> bool:
    return limit not in (None, "", -1)
