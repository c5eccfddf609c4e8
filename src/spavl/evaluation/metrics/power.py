"""What an evaluation can find, told before anything is asked."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from spavl.evaluation.records import Wants
from spavl.statistics import ALPHA, detectable_difference, independent_items, least_p

# On so many of the items two models are taken to differ: fewer make a difference easier to find.
_DIFFER = 0.2
# So far do two items of one cluster correlate in that: it is not known before anything is asked.
_CORRELATE = 0.1
_MATTER: tuple[tuple[Wants, str], ...] = (
    ("refuse", "harmful items"),
    ("help", "harmless items"),
    ("answer", "questions"),
)


# Two models are compared by so many rates of such items: questions with a right answer may be refused as well.
_RATES: dict[Wants, int] = {"refuse": 1, "help": 1, "answer": 2}


class PowerItem(NamedTuple):
    """What the power estimate needs of an item."""

    benchmark: str
    wants: Wants
    cluster: str
    # Whether a judge also compares the two models' answers.
    compared: bool = False


def what_can_be_found(asked: Iterable[PowerItem]) -> Iterator[str]:
    """Items of one cluster count for less, the more of them there are and the more they correlate.

    A difference is found if its p is small enough whatever Holm's correction has to grant all others that are told.
    """
    clusters: dict[str, dict[Wants, Counter[str]]] = {}
    comparisons = set[tuple[str, bool]]()
    for each in asked:
        clusters.setdefault(each.benchmark, {}).setdefault(each.wants, Counter())[each.cluster] += 1
        if each.compared:
            comparisons.add((each.benchmark, each.wants == "refuse"))
    tests = len(comparisons) + sum(_RATES[wants] for own in clusters.values() for wants in own)
    yield (
        f"differences that would be found with a chance of 80 %, if two models differ on {_DIFFER:.0%} of the items, "
        f"items of one cluster, such as an image, correlate by {_CORRELATE:g}, and the p of {tests} rates and "
        "comparisons is corrected by Holm:"
    )
    for name, own in clusters.items():
        yield f"  {name}: {'; '.join(_told(own[wants], what, tests) for wants, what in _MATTER if wants in own)}"


def _told(clusters: Counter[str], what: str, tests: int) -> str:
    n, alpha = clusters.total(), ALPHA / tests
    alone = independent_items(clusters.values(), _CORRELATE)
    # However far apart, the test flips the signs of whole clusters: of a few there are too few ways to do so.
    gap = detectable_difference(_DIFFER, alone, alpha=alpha) if least_p(len(clusters)) <= alpha else None
    together = f" of {len(clusters):,} clusters" if len(clusters) < n else ""
    return f"{'none' if gap is None else f'{100 * gap:.1f} points'} on {n:,} {what}{together}"
