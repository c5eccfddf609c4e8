"""How many images each filter dropped, with its limit, and which leaves have too few images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spavl.data.downloads.config import SPEC as DOWNLOADS
from spavl.data.downloads.config import DownloadsConfig
from spavl.data.selection.config import SPEC as SELECTION
from spavl.data.selection.config import SelectionConfig
from spavl.data.selection.notes import SelectionNotes
from spavl.data.sourcing.config import SPEC as SOURCING
from spavl.pipeline.report.run_summary import ImageSettings
from spavl.store import Manifest

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
    # The number of leaves with fewer images than wanted; those that lack most, with how many each lacks.
    short: int
    lacking: tuple[tuple[str, int], ...]
    unread: int


class _Filter(NamedTuple):
    """A filter: the reason of its rejects, the setting that turns it on, its requirement in words, and its limit."""

    reason: str
    setting: str
    asks: str
    limit: float | str | None

    @property
    def is_on(self) -> bool:
        return self.limit not in (None, "", -1)


def funnel_of(stages: Sequence[Manifest], notes: SelectionNotes, settings: ImageSettings) -> FilterFunnel | None:
    finished = {manifest.stage: manifest for manifest in stages}
    candidates, fit, used = (finished.get(spec.stage) for spec in (SOURCING, DOWNLOADS, SELECTION))
    if not (candidates and fit and used and settings.downloads and settings.selection):
        return None
    dropped = fit.rejects | used.rejects
    filters = list(_filters(settings.downloads, settings.selection))
    lacking = sorted(notes.shortfall.items(), key=lambda leaf: (-leaf[1], leaf[0]))
    return FilterFunnel(
        candidates=candidates.rows,
        fit=fit.rows,
        used=used.rows,
        quota=settings.selection.per_leaf,
        filters=tuple(
            FunnelStep(setting=each.setting, asks=each.asks.format(each.limit), dropped=dropped.get(each.reason, 0))
            for each in filters
            if each.is_on
        ),
        off=tuple(each.setting for each in filters if not each.is_on),
        short=len(lacking),
        lacking=tuple(lacking[:_LEAVES_NAMED]),
        unread=notes.relevance_unread,
    )


def _filters(downloads: DownloadsConfig, selection: SelectionConfig) -> Iterator[_Filter]:
    side, ratio, similarity = downloads.min_side, downloads.max_aspect_ratio, downloads.min_similarity
    yield _Filter("too_small", "downloads.min_side", "shorter side of at least {} pixels", side)
    yield _Filter("too_wide", "downloads.max_aspect_ratio", "longer side at most {} times the shorter", ratio)
    yield _Filter("unlike_caption", "downloads.min_similarity", "similarity to its caption of at least {}", similarity)
    yield _Filter("porn", "downloads.max_nudity", "nudity score of at most {}", downloads.max_nudity)
    yield _Filter("too_many_words", "downloads.max_text_area", "text covers at most {} of it", downloads.max_text_area)
    # What is only counted or covered is told elsewhere in the report.
    if downloads.faces in ("keep", "drop"):
        score = downloads.face_score if downloads.faces == "drop" else None
        yield _Filter("face", "downloads.faces", "shows no face with a score of {} or more", score)
    if downloads.personal_words in ("keep", "drop"):
        drops = "" if downloads.personal_words == "keep" else "words"
        yield _Filter("personal_data", "downloads.personal_words", "no personal data can be read in its {}", drops)
    bits, said = selection.near_duplicate_bits, "hash differs from every other in more than {} of 64 bits"
    yield _Filter("removed", "selection.removals", "not listed for removal in {}", selection.removals)
    yield _Filter("near_duplicate", "selection.near_duplicate_bits", said, bits)
    yield _Filter("irrelevant", "selection.relevance", "belongs to its leaf, by {}", selection.relevance)
