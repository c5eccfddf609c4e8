"""The readers of spavl, each by its public functions: what it makes of a folder that somebody else wrote.

| reader | stands for |
| --- | --- |
| import | `spavl data import`, and `spavl train --data`, which imports first |
| sourcing | the image sources of `spavl build` |
| benchmark | the tables of benchmarks: harmeval |
| overlaps | `spavl eval --training-data`, the images and questions of training data |
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.data.dataset.config import DatasetConfig
from spavl.data.sourcing.readers.entry import RowLimits, SourceEntry
from spavl.data.sourcing.shards import shards_of
from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files.row_files import need, rows_of
from spavl.evaluation.contamination.training_data import check_training_data, taught_by
from spavl.imaging.local import read_local
from spavl.imaging.tables.cells import TableCells
from spavl.imaging.unfetchable import Unfetchable
from spavl.publishing.importing.bring_in import bring_in
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.foreign_files.rows import Row, pixels

_TABLES = ("**/*.parquet", "**/*.arrow", "**/*.jsonl", "*.json", "**/*.csv", "**/*.tsv")
# These readers do not raise: the run that calls them reports what they left out, and what to do.
_AS_REPORTED = "as the run reports"
# What a reader gives of a row: each field by its name.
Found = dict[str, object]


class Reader(NamedTuple):
    # The name that a table must have for this reader, without its ending.
    table: str
    fields: tuple[str, ...]
    read: Callable[[Path, Path], list[Found]]


def by_import(folder: Path, work: Path) -> list[Found]:
    bring_in(str(folder), work / "run", DatasetConfig(), Screen())
    with RunFolder(work / "run", look_only=True) as run:
        return [
            {
                "question": sample.question,
                "chosen": sample.chosen,
                "rejected": sample.rejected,
                "pixels": pixels(run.blobs.get(sample.blob)),
            }
            for sample in run.read("dataset", Sample)
        ]


def by_sourcing(folder: Path, work: Path) -> list[Found]:
    return list(_of_source(folder))


def _of_source(folder: Path) -> Iterator[Found]:
    cells, skipped, is_any = TableCells(), list[str](), False
    if not (shards := shards_of(folder)):
        raise ConfigError("no file of this folder is read", where=str(folder), then=_AS_REPORTED)
    named = set[str]()
    for shard in shards:
        for entry in shard.entries(RowLimits()):
            if not isinstance(entry, SourceEntry):
                skipped.append(f"{entry.reason} at {entry.place}")
            elif shard.path.is_dir() and entry.source in named:
                # Loose images that a table has named already.
                continue
            else:
                named.add(entry.source)
                try:
                    image = pixels(read_local(entry.source, cells))
                except Unfetchable as error:
                    skipped.append(f"{error} at {entry.source}")
                    continue
                is_any = True
                yield {"caption": entry.caption, "pixels": image}
    if whole := [told for told in skipped if "#" not in told or told.startswith("broken_row")]:
        # A run reports what it has left out, by its place and reason.
        reason, _, place = whole[0].partition(" at ")
        raise ConfigError(f"left out: {reason}", where=place, then=_AS_REPORTED)
    if not is_any:
        raise ConfigError(f"left out: {skipped[0] if skipped else ''}", where=str(folder), then=_AS_REPORTED)


def by_benchmark(folder: Path, work: Path) -> list[Found]:
    """The rows of files as all benchmarks read them."""
    return [
        {"question": row.question_text("question"), "pixels": pixels(row.image("image", folders=[folder])())}
        for row in rows_of(need(folder, _TABLES, "write one of these"))
    ]


def by_overlaps(folder: Path, work: Path) -> list[Found]:
    check_training_data(str(folder))
    found = list[Found]()
    for row in taught_by(str(folder)):
        if row.fault or row.unknown:
            raise ConfigError(row.fault or f"no column for {row.unknown}", where=row.key, then=_AS_REPORTED)
        # Two columns may name one image.
        images = list(dict.fromkeys(pixels(image) for read in row.images for image in read()))
        found.append({"question": "\n".join(row.questions), "pixels": images[0] if len(images) == 1 else images})
    return found


READERS: dict[str, Reader] = {
    "import": Reader("train", ("question", "chosen", "rejected", "pixels"), by_import),
    "sourcing": Reader("train", ("caption", "pixels"), by_sourcing),
    "benchmark": Reader("harm", ("question", "pixels"), by_benchmark),
    "overlaps": Reader("train", ("question", "pixels"), by_overlaps),
}


def expected(rows: Sequence[Row], reader: Reader, code_page: str = "utf-8", has_captions: bool = True) -> list[Found]:
    """What a reader should give of these rows. Sourcing strips its captions."""
    return [{name: _expected(row, name, code_page, has_captions) for name in reader.fields} for row in rows]


def _expected(row: Row, name: str, code_page: str, has_captions: bool) -> object:
    if name == "pixels":
        return pixels(row.image) if row.image else []
    text = (getattr(row, name) or "") if name != "caption" or has_captions else ""
    return (text.strip() if name == "caption" else text).encode(code_page, "replace").decode(code_page)


def in_order(found: Sequence[Found]) -> list[Found]:
    """Rows as they can be compared: the files of a folder may be read in any order."""
    return sorted(found, key=lambda row: sorted((name, repr(cell)) for name, cell in row.items()))
