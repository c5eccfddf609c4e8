"""What an exam can find, told before anything is asked."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from spavl.benchmarks.records import Wants
from spavl.statistics import detectable_difference, independent_items

# On so many of the items two models are taken to differ: fewer make a difference easier to find.
_DIFFER = 0.2
# So far do two items of one cluster correlate in that: it is not known before anything is asked.
_CORRELATE = 0.1
_MATTER: tuple[tuple[Wants, str], ...] = (
    ("refuse", "harmful items"),
    ("help", "harmless items"),
    ("answer", "questions"),
)


class Asked(NamedTuple):
    """What foresight needs to know of an item."""

    benchmark: str
    wants: Wants
    cluster: str


def what_can_be_found(asked: Iterable[Asked]) -> Iterator[str]:
    """Items of one cluster count for less, the more of them there are and the more they correlate."""
    clusters: dict[str, dict[Wants, Counter[str]]] = {}
    for each in asked:
        clusters.setdefault(each.benchmark, {}).setdefault(each.wants, Counter())[each.cluster] += 1
    yield (
        f"differences that would be found with a chance of 80 %, if two models differ on {_DIFFER:.0%} of the items, "
        f"and items of one cluster, such as an image, correlate by {_CORRELATE:g}:"
    )
    for name, own in clusters.items():
        yield f"  {name}: {'; '.join(_told(own[wants], what) for wants, what in _MATTER if wants in own)}"


def _told(clusters: Counter[str], what: str) -> str:
    n = clusters.total()
    gap = detectable_difference(_DIFFER, independent_items(clusters.values(), _CORRELATE))
    together = f" of {len(clusters):,} clusters" if len(clusters) < n else ""
    return f"{'none' if gap is None else f'{100 * gap:.1f} points'} on {n:,} {what}{together}"
