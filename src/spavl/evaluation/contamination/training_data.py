"""Reads training data for an audit: each image and question of a run or of a folder of tables."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files.row_files import AllBytes, BenchmarkRow, need, rows_of
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE
from spavl.text.file_groups import ABOUT_TABLES, by_likes

_GET = "give a run of spavl, or a folder of Parquet, Arrow, JSON or CSV files with the columns image and question"
# The formats that are read: those of the first ending of which there are files.
_TABLES = tuple(f"**/*{ending}" for ending in (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv"))
# Names of files and folders of other splits, as SPA-VL and others use them; all else may be training data.
_OTHER = re.compile(
    r"(test|val|valid|validation|dev|eval|held.?out)([-_.0-9]|$)|(harm|help)([-.]|$)",
    re.IGNORECASE,
)
# The column names of SPA-VL's format and of trainers'. All that a table has are read.
_IMAGES = ("image", "images", "file_name")
_QUESTIONS = ("question", "prompt", "instruction", "messages", "conversations")
_INSTRUCTION, _MORE = "instruction", ("input",)
_MARK = "<image>"
_ASKING = ("user", "human")


class TrainingRow(NamedTuple):
    """A row of training data."""

    key: str
    questions: tuple[str, ...]
    # One entry for each column with images; empty if the row has no image, or if `fault` says why it cannot be read.
    images: tuple[AllBytes, ...] = ()
    fault: str = ""
    # What its file has no known column for: images, questions, or both.
    unknown: tuple[str, ...] = ()


def taught_by(source: str) -> Iterator[TrainingRow]:
    folder = Path(source)
    return _of_run(folder) if (folder / RUN_FILE).is_file() else _of_tables(folder)


def check_training_data(source: str) -> None:
    """Raise if the source is neither a run nor a folder with tables."""
    if not (Path(source) / RUN_FILE).is_file():
        _tables(Path(source))


def left_out_of(source: str) -> list[str]:
    """The tables that are not read, because their names are those of other splits."""
    folder = Path(source)
    if (folder / RUN_FILE).is_file():
        return []
    training = set(_training_files(folder))
    return by_likes(str(file.relative_to(folder)) for file in _tables(folder) if file not in training)


def _of_run(folder: Path) -> Iterator[TrainingRow]:
    with RunFolder(folder, look_only=True) as run:
        for sample in run.read("dataset", Sample):
            if sample.split == "train":
                yield TrainingRow(sample.id, (sample.question,), (functools.partial(_blob, run, sample.blob),))


def _blob(run: RunFolder, blob: str) -> tuple[bytes, ...]:
    return (run.blobs.get(blob),)


def _of_tables(folder: Path) -> Iterator[TrainingRow]:
    for row in rows_of(_training_files(folder)):
        asked = (_question_of_row(row, name) for name in _QUESTIONS)
        images, faults = _images_in(row, folder)
        unknown = tuple(
            what
            for what, names in (("images", _IMAGES), ("questions", _QUESTIONS))
            if not any(name in row.cells for name in names)
        )
        key = f"{row.file.name} {row.number}"
        yield TrainingRow(key, tuple(dict.fromkeys(filter(None, asked))), images, next(iter(faults), ""), unknown)


def _images_in(row: BenchmarkRow, folder: Path) -> tuple[tuple[AllBytes, ...], list[str]]:
    """Readers of the images of each column that has some, and the faults of the other columns."""
    found, faults = list[AllBytes](), list[str]()
    for column in _IMAGES:
        try:
            images = row.maybe_images(column, [folder, row.file.parent], _GET) if column in row.cells else None
        except ConfigError as error:
            faults.append(f"{error.what} ({error.where})")
        else:
            found += [images] if images is not None else []
    return tuple(found), faults


def _training_files(folder: Path) -> list[Path]:
    """All tables without those that have the names of other splits; all tables if every one has."""
    files = _tables(folder)
    places = {file: file.relative_to(folder).parts for file in files}
    training = [
        file for file, parts in places.items() if "train" in file.name.lower() or not any(map(_OTHER.match, parts))
    ]
    return training or files


def _tables(folder: Path) -> list[Path]:
    found = need(folder, _TABLES, _GET)
    if data := [file for file in found if file.name not in ABOUT_TABLES]:
        return data
    raise ConfigError("no table in this folder, but files about one", where=str(folder), then=_GET)


def _question_of_row(row: BenchmarkRow, name: str) -> str:
    """The question in a column, without the image marks of trainers. An instruction may go on in an input."""
    parts = [_question_of_prompt(row.maybe(each)) for each in (name, *(_MORE if name == _INSTRUCTION else ()))]
    return "\n".join(filter(None, parts)).replace(_MARK, "").strip() if parts[0] else ""


def _question_of_prompt(prompt: Any) -> str:
    """The text of a prompt: a string, or what the user says in a conversation."""
    if isinstance(prompt, list):
        turns = [turn.get("content", turn.get("value")) for turn in prompt if isinstance(turn, dict) and _asks(turn)]
        parts = [part for turn in turns for part in (turn if isinstance(turn, list) else [{"text": turn}])]
        return "\n".join(filter(None, map(_text_of_part, parts)))
    return "" if prompt is None else str(prompt)


def _text_of_part(part: Any) -> str:
    """The text of a part, which LLaMA-Factory's newer form calls a value, as it does the name of an image."""
    if not isinstance(part, dict):
        return ""
    return str(part.get("text") or (part.get("value") if part.get("type") == "text" else None) or "")


def _asks(turn: dict[str, Any]) -> bool:
    return str(turn.get("role") or turn.get("from") or _ASKING[0]).lower() in _ASKING
