"""Reads training data for an audit: each image and question of a run or of a folder of tables."""

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.files.row_files import AllBytes, BenchmarkRow, rows
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.store.files import RUN_FILE, all_files
from spavl.text.file_groups import ABOUT_TABLES, by_likes

_GET = "give a run of spavl, or a folder of Parquet, Arrow, JSON or CSV files with the columns image and question"
# The formats that are read.
_TABLES = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
# Endings of files beside tables that hold no training rows: images, texts about the data, settings, weights.
_IMAGE_FILES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".pdf")
_TEXT_FILES = ("", ".md", ".txt", ".rst", ".html", ".py", ".sh", ".ipynb", ".toml", ".yaml", ".yml", ".log", ".lock")
_BESIDE = frozenset((*_IMAGE_FILES, *_TEXT_FILES, ".safetensors", ".bin", ".pt", ".model"))
# Names of files and folders of other splits, as SPA-VL and others use them; all else may be training data.
_OTHER = re.compile(
    r"(test|val|valid|validation|dev|eval|held.?out)([-_.0-9]|$)|(harm|help)([-.]|$)",
    re.IGNORECASE,
)
# The column names of SPA-VL's format and of trainers', in any case. All that a table has are read.
_IMAGES = ("image", "images", "file_name")
_QUESTIONS = ("question", "prompt", "query", "instruction", "messages", "conversations")
# The answers of a pair. If they are conversations, these may begin with the only copy of the prompt.
_ANSWERS = ("chosen", "rejected")
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
    # Why none of its file's rows can be read; then it stands for the file.
    unread: str = ""


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


def not_read_of(source: str) -> list[str]:
    """The files that may hold training data in a format that is not read."""
    folder = Path(source)
    if (folder / RUN_FILE).is_file():
        return []
    others = (file for file in _files_in(folder) if file.suffix.lower() not in {*_TABLES, *_BESIDE})
    return by_likes(str(file.relative_to(folder)) for file in others)


def _of_run(folder: Path) -> Iterator[TrainingRow]:
    with RunFolder(folder, look_only=True) as run:
        for sample in run.read("dataset", Sample):
            if sample.split == "train":
                yield TrainingRow(sample.id, (sample.question,), (functools.partial(_blob, run, sample.blob),))


def _blob(run: RunFolder, blob: str) -> tuple[bytes, ...]:
    return (run.blobs.get(blob),)


def _of_tables(folder: Path) -> Iterator[TrainingRow]:
    files = _training_files(folder)
    for file in files:
        try:
            for row in rows(file):
                yield _training_row(row, folder)
        except ConfigError as error:
            # A .json file beside tables may be about anything.
            if file.suffix.lower() != ".json" or len(files) == 1:
                raise
            yield TrainingRow(file.name, (), unread=f"{error.what} ({error.where})")


def _training_row(row: BenchmarkRow, folder: Path) -> TrainingRow:
    names = _spellings(tuple(row.cells))
    asked = [_question_of_row(row, name, names) for name in _QUESTIONS if name in names]
    asked += [_prompt_of_answer(row, names[name]) for name in _ANSWERS if name in names]
    images, faults = _images_in(row, [names[name] for name in _IMAGES if name in names], folder)
    questions = tuple(dict.fromkeys(filter(None, asked)))
    has_questions = bool(questions) or any(name in names for name in _QUESTIONS)
    has_columns = {"images": any(name in names for name in _IMAGES), "questions": has_questions}
    unknown = tuple(what for what, is_there in has_columns.items() if not is_there)
    return TrainingRow(f"{row.file.name} {row.number}", questions, images, next(iter(faults), ""), unknown)


@functools.lru_cache(maxsize=1024)
def _spellings(columns: tuple[str, ...]) -> Mapping[str, str]:
    """The columns by their names in lower case. Of two that differ in case alone, the one in lower case."""
    return {name.lower(): name for name in sorted(columns)}


def _images_in(row: BenchmarkRow, columns: list[str], folder: Path) -> tuple[tuple[AllBytes, ...], list[str]]:
    """Readers of the images of each column that has some, and the faults of the other columns."""
    found, faults = list[AllBytes](), list[str]()
    for column in columns:
        try:
            images = row.maybe_images(column, [folder, row.file.parent], _GET)
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
    if not folder.is_dir():
        raise ConfigError("there is no such folder", where=str(folder), then=_GET)
    found = [file for file in _files_in(folder) if file.suffix.lower() in _TABLES]
    if data := [file for file in found if file.name not in ABOUT_TABLES]:
        return data
    if not found:
        raise ConfigError(f"no file {' or '.join(_TABLES)} in this folder", where=str(folder), then=_GET)
    raise ConfigError("no table in this folder, but files about one", where=str(folder), then=_GET)


def _files_in(folder: Path) -> list[Path]:
    """All files at any depth, also of linked folders, without hidden ones and those in hidden folders."""
    return [file for file in all_files(folder) if not any(part[0] == "." for part in file.relative_to(folder).parts)]


def _question_of_row(row: BenchmarkRow, name: str, names: Mapping[str, str]) -> str:
    """The question in a column, without the image marks of trainers. An instruction may go on in an input."""
    columns = [names[each] for each in (name, *(_MORE if name == _INSTRUCTION else ())) if each in names]
    parts = [_question_of_prompt(row.cell(column)) for column in columns]
    return "\n".join(filter(None, parts)).replace(_MARK, "").strip() if parts[0] else ""


def _prompt_of_answer(row: BenchmarkRow, column: str) -> str:
    """What the user says in an answer that is a whole conversation."""
    said = row.cells[column]
    return _question_of_prompt(said).replace(_MARK, "").strip() if isinstance(said, list) else ""


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
