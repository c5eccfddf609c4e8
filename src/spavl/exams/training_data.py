"""What a model was trained on, as an audit reads it: each image and question of a run or of a folder of tables."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spavl.benchmarks.files import AllBytes, need, rows_of
from spavl.errors import ConfigError
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE

_GET = "give a run of spavl, or a folder of Parquet files with the columns image and question"
# What files and folders of other splits are called, as SPA-VL and others name them; all else may have been learnt from.
_OTHER = re.compile(r"(test|val|valid|validation|dev|eval|held.?out|harm|help)([-_.0-9]|$)", re.IGNORECASE)
# As SPA-VL's form names them, and TRL's.
_IMAGES = ("image", "images")
_QUESTIONS = ("question", "prompt", "instruction")


class Taught(NamedTuple):
    """A row that a model may have learnt from."""

    key: str
    question: str
    # None where it has no image, or `fault` says why none can be had.
    images: AllBytes | None
    fault: str = ""
    # What no column of its file is known to hold: images, questions, or both.
    unknown: tuple[str, ...] = ()


def taught_by(source: str) -> Iterator[Taught]:
    folder = Path(source)
    return _of_run(folder) if (folder / RUN_FILE).is_file() else _of_tables(folder)


def _of_run(folder: Path) -> Iterator[Taught]:
    with RunFolder(folder, look_only=True) as run:
        for sample in run.read("dataset", Sample):
            if sample.split == "train":
                yield Taught(sample.id, sample.question, functools.partial(_blob, run, sample.blob))


def _blob(run: RunFolder, blob: str) -> tuple[bytes, ...]:
    return (run.blobs.get(blob),)


def _of_tables(folder: Path) -> Iterator[Taught]:
    for row in rows_of(_learnt_from(folder)):
        key, question = f"{row.file.name} {row.number}", _asked(row.maybe(*_QUESTIONS))
        columns = [name for name in _IMAGES if name in row.cells]
        unknown = tuple(
            what
            for what, known in (("images", bool(columns)), ("questions", any(name in row.cells for name in _QUESTIONS)))
            if not known
        )
        try:
            read = (row.maybe_pictures(column, [folder, row.file.parent], _GET) for column in columns)
            images = next((images for images in read if images is not None), None)
        except ConfigError as error:
            yield Taught(key, question, None, f"{error.what} ({error.where})", unknown)
        else:
            yield Taught(key, question, images, "", unknown)


def _learnt_from(folder: Path) -> list[Path]:
    """All tables but those that are of other splits by their names, where not all are."""
    files = need(folder, ("**/*.parquet",), _GET)
    places = {file: file.relative_to(folder).parts for file in files}
    learnt = [
        file for file, parts in places.items() if "train" in file.name.lower() or not any(map(_OTHER.match, parts))
    ]
    return learnt or files


def _asked(prompt: Any) -> str:
    """The words of a prompt: a text, or the turns of a conversation, of which the system's ask nothing."""
    if isinstance(prompt, list):
        turns = [turn.get("content") for turn in prompt if isinstance(turn, dict) and turn.get("role") != "system"]
        parts = [part for turn in turns for part in (turn if isinstance(turn, list) else [{"text": turn}])]
        return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))
    return "" if prompt is None else str(prompt)
