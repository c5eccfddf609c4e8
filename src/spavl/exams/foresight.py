"""What an exam can find, told before anything is asked."""

from collections import Counter
from collections.abc import Iterator

from spavl.benchmarks.records import Wants
from spavl.statistics import detectable_difference

# On so many of the items two models are taken to differ: fewer make a difference easier to find.
_DIFFER = 0.2
_MATTER: tuple[tuple[Wants, str], ...] = (
    ("refuse", "harmful items"),
    ("help", "harmless items"),
    ("answer", "questions"),
)


def what_can_be_found(counts: Counter[tuple[str, Wants]]) -> Iterator[str]:
    """`counts`: how many items of each kind every benchmark asks."""
    yield f"differences that would be found with a chance of 80 %, if two models differ on {_DIFFER:.0%} of the items:"
    for name in dict.fromkeys(benchmark for benchmark, _ in counts):
        told = [f"{_gap(n)} on {n:,} {what}" for wants, what in _MATTER if (n := counts[name, wants])]
        yield f"  {name}: {'; '.join(told)}"


def _gap(n: int) -> str:
    gap = detectable_difference(_DIFFER, n)
    return "none" if gap is None else f"{100 * gap:.1f} points"
