"""What every benchmark is: where its data come from, how to read them, and how its answers are scored."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.records import Item, Wants
from spavl.statistics import Estimate

# The bytes of an image, read when it is its turn.
Bytes = Callable[[], bytes]
# Figures by name, of items and their marks by one rule; not a number where there is nothing to divide by.
Figures = Callable[[Sequence[Item], Sequence[float | None]], dict[str, Estimate]]


class BenchmarkItem(NamedTuple):
    """An item as a benchmark's files have it; the image is read when it is its turn."""

    key: str
    question: str
    wants: Wants
    scored_by: tuple[str, ...]
    image: Bytes | None = None
    subset: str = ""
    group: str = ""
    # What hangs together beside the items of one image, such as the forms of a question.
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
    # Which of its items come with an image. One that comes without it is refused, and never asked in words alone.
    needs_image: Callable[[BenchmarkItem], bool] = always
    # How its makers score it, and what of that is done here.
    scoring: str = ""
    # Its folder among a user's data, where several benchmarks read the same files; else it has its own name.
    shares: str = ""
    # What it is published with beyond a mean, of its items and their marks by a rule.
    figures: Figures | None = None
    # Whether these figures are of whole clusters, such as a question in all orders of its options.
    whole_clusters: bool = False
    # Whether items that show the same image hang together. Not where a few images stand beside many requests, which are
    # what hangs together.
    by_image: bool = True

    def items(self, folder: Path) -> Iterator[BenchmarkItem]:
        """What it asks, each item that needs an image with one."""
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
