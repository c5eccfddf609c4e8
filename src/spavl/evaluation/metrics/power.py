"""Which differences an evaluation can find, reported before any model is called."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from spavl.evaluation.records import Wants
from spavl.statistics import ALPHA, detectable_difference, independent_items, least_p

# The assumed share of items on which two models differ: a smaller one makes a difference easier to find.
_DIFFER = 0.2
# The assumed correlation of two items of one cluster in that, which is unknown before the evaluation.
_CORRELATE = 0.1
_MATTER: tuple[tuple[Wants, str], ...] = (
    ("refuse", "harmful items"),
    ("help", "harmless items"),
    ("answer", "questions"),
)


# The number of rates by which such items compare two models: questions with a right answer may be refused as well.
_RATES: dict[Wants, int] = {"refuse": 1, "help": 1, "answer": 2}


class PowerItem(NamedTuple):
    """What the power estimate needs of an item."""

    benchmark: str
    wants: Wants
    cluster: str
    # Whether a judge also compares the two models' answers.
    compared: bool = False


def what_can_be_found(asked: Iterable[PowerItem]) -> Iterator[str]:
    """Lines that report the smallest difference an evaluation can find on each benchmark.

    Items of one cluster count for less, the more of them there are and the more they correlate. A difference is found
    if its p is small enough in the worst case of Holm's correction over all reported tests.
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
        yield f"  {name}: {'; '.join(_gap_text(own[wants], what, tests) for wants, what in _MATTER if wants in own)}"


def _gap_text(clusters: Counter[str], what: str, tests: int) -> str:
    n, alpha = clusters.total(), ALPHA / tests
    alone = independent_items(clusters.values(), _CORRELATE)
    # The test flips the signs of whole clusters: with few clusters there are too few ways to do so for a small p.
    gap = detectable_difference(_DIFFER, alone, alpha=alpha) if least_p(len(clusters)) <= alpha else None
    together = f" of {len(clusters):,} clusters" if len(clusters) < n else ""
    return f"{'none' if gap is None else f'{100 * gap:.1f} points'} on {n:,} {what}{together}"
