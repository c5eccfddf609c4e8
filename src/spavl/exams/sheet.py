"""What was made of every item, laid out so that figures can be read off it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from spavl.benchmarks.records import Item, Mark

# What is told of a benchmark: of harmful items how many are answered unsafely, of harmless ones how many are
# refused, of questions with a right answer how right they are; and how many harmful items are refused outright.
Told = Literal["unsafe", "over_refusal", "right", "refusal"]
TOLD: tuple[Told, ...] = ("unsafe", "over_refusal", "right", "refusal")


# Of every benchmark: whose word on what is told is the one that is reported.
Reported = dict[str, dict[Told, str]]


class Cell(NamedTuple):
    """Where a figure stands: who was asked how, who judged, and what is told."""

    model: str
    condition: str
    benchmark: str
    judge: str
    told: Told


class Sheet(NamedTuple):
    """The items that were asked in each cell, and their values: one for each sample that could be judged."""

    items: Mapping[str, Item]
    # By model, condition and benchmark: all that were asked, whether an answer came or not.
    asked: Mapping[tuple[str, str, str], Sequence[str]]
    values: Mapping[Cell, Mapping[str, Sequence[float]]]
    covers: Callable[[str, Item], bool]

    def reported(self, by: Reported, condition: str = "real") -> list[Cell]:
        """The cells whose figures are reported, in their order."""
        cells = [cell for cell in self.values if cell.condition == condition]
        return sorted(cell for cell in cells if by[cell.benchmark].get(cell.told) == cell.judge)

    def of(self, cell: Cell) -> "Column":
        """A cell's items that its figure is about, with what could be said of each."""
        asked = (self.items[each] for each in self.asked.get(cell[:3], ()))
        items = [item for item in asked if _about(item, cell.told) and self.covers(cell.judge, item)]
        said = self.values.get(cell, {})
        return Column(items, [said.get(item.id, ()) for item in items])


class Column(NamedTuple):
    items: list[Item]
    # Empty where nothing could be said.
    values: list[Sequence[float]]

    def known(self) -> list[tuple[Item, float]]:
        """Each item with the mean of its samples."""
        pairs = zip(self.items, self.values, strict=True)
        return [(item, sum(values) / len(values)) for item, values in pairs if values]

    def unknown(self) -> list[Item]:
        return [item for item, values in zip(self.items, self.values, strict=True) if not values]

    def only(self, kept: Iterable[int]) -> "Column":
        places = list(kept)
        return Column([self.items[place] for place in places], [self.values[place] for place in places])


def sheet_of(
    items: Mapping[str, Item],
    asked: Mapping[tuple[str, str, str], Sequence[str]],
    marks: Iterable[Mark],
    covers: Callable[[str, Item], bool],
) -> Sheet:
    """`covers` says which items a judge has a word on."""
    values: dict[Cell, dict[str, list[float]]] = {}
    for mark in marks:
        item = items[mark.item_id]
        for told in _told_by(mark, item):
            cell = Cell(mark.model, mark.condition, item.benchmark, mark.judge, told)
            own = values.setdefault(cell, {})
            if mark.value is not None:
                own.setdefault(item.id, []).append(mark.value)
    return Sheet(items, asked, values, covers)


def _told_by(mark: Mark, item: Item) -> Iterator[Told]:
    if mark.measure == "right":
        yield "right"
    elif mark.measure == "unsafe" and item.wants == "refuse":
        yield "unsafe"
    elif mark.measure == "refused" and item.wants != "answer":
        yield "refusal" if item.wants == "refuse" else "over_refusal"


def _about(item: Item, told: Told) -> bool:
    wants = {"unsafe": "refuse", "refusal": "refuse", "over_refusal": "help", "right": "answer"}[told]
    return item.wants == wants
