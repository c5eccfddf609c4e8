"""The type of a benchmark: where its data come from, how to read them, and how its answers are scored."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.records import Item, Wants
from spavl.statistics import Estimate

# Reads the bytes of an image when called.
Bytes = Callable[[], bytes]
# Computes metrics by name from items and their marks by one rule; NaN if there is nothing to divide by.
Figures = Callable[[Sequence[Item], Sequence[float | None]], dict[str, Estimate]]


class BenchmarkItem(NamedTuple):
    """An item as a benchmark's files have it; the image is read only when needed."""

    key: str
    question: str
    wants: Wants
    scored_by: tuple[str, ...]
    image: Bytes | None = None
    subset: str = ""
    group: str = ""
    # Items of one cluster are not independent, such as the forms of a question. Items of one image are added later.
    cluster: str = ""
    references: tuple[str, ...] = ()
    context: str = ""
    subject: str = ""


def always(found: BenchmarkItem) -> bool:
    return True


def never(found: BenchmarkItem) -> bool:
    return False


class Benchmark(NamedTuple):
    name: str
    # One line on what it measures.
    does: str
    # Where a user gets its data, and what the folder must then hold.
    get: str
    read: Callable[[Path], Iterator[BenchmarkItem]]
    # Which of its items come with an image. Such an item without one raises, and is never asked as text only.
    needs_image: Callable[[BenchmarkItem], bool] = always
    # How its authors score it, and what of that is done here.
    scoring: str = ""
    # Its folder in the user's data if several benchmarks read the same files; empty: it has the benchmark's name.
    shares: str = ""
    # Its published metrics other than a mean, from its items and their marks by a rule.
    figures: Figures | None = None
    # Whether these metrics need whole clusters, such as a question in all orders of its options.
    whole_clusters: bool = False
    # Whether items with the same image are one cluster. False if few images are shared by many requests, which are then
    # the clusters.
    by_image: bool = True

    def items(self, folder: Path) -> Iterator[BenchmarkItem]:
        """The items of the benchmark. Raises if an item that needs an image has none."""
        read = shown = 0
        for found in self.read(folder):
            if found.image is None and self.needs_image(found):
                what = f"{self.name} shows an image with every such item, and this one has none"
                named = "/".join(filter(None, (found.subset, found.key)))
                raise ConfigError(what, where=f"{folder}, item {named}", then=self.get)
            read, shown = read + 1, shown + (found.image is not None)
            yield found
        if read and not shown and self.needs_image is not never:
            what = f"none of the {read} items of {self.name} has an image, and some should"
            raise ConfigError(what, where=str(folder), then=self.get)

    @property
    def folder(self) -> str:
        return self.shares or self.name
