"""What every benchmark is: where its data come from, how to read them, and how its answers are scored."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.benchmarks.records import Item, Wants
from spavl.statistics import Estimate

# The bytes of a picture, read when it is its turn.
Bytes = Callable[[], bytes]
# Figures by name, of items and their marks by one rule; not a number where there is nothing to divide by.
Figures = Callable[[Sequence[Item], Sequence[float | None]], dict[str, Estimate]]


class Found(NamedTuple):
    """An item as a benchmark's files have it; the picture is read when it is its turn."""

    key: str
    question: str
    wants: Wants
    scored_by: tuple[str, ...]
    picture: Bytes | None = None
    subset: str = ""
    group: str = ""
    # Empty: it stands alone.
    cluster: str = ""
    references: tuple[str, ...] = ()
    context: str = ""
    subject: str = ""


class Benchmark(NamedTuple):
    name: str
    # One line on what it measures.
    does: str
    # Where a user gets its data, and what the folder must then hold.
    get: str
    read: Callable[[Path], Iterator[Found]]
    # How its makers score it, and what of that is done here.
    scoring: str = ""
    # Its folder among a user's data, where several benchmarks read the same files; else it has its own name.
    shares: str = ""
    # What it is published with beyond a mean, of its items and their marks by a rule.
    figures: Figures | None = None

    @property
    def folder(self) -> str:
        return self.shares or self.name
