"""Reads the rows of a data set on disk or on a hub, in the format of published SPA-VL, of spavl or of a trainer."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from spavl.engine.isolated_reader import FileOpened, rows_apart
from spavl.errors import ConfigError, MissingExtra, ProviderError, how_to_install
from spavl.evaluation.benchmarks.files import row_files
from spavl.evaluation.benchmarks.files.parquet_cells import schema_and_rows, unreadable
from spavl.imaging.tables.columns import holds_images
from spavl.publishing.importing.turns import ConversationPair, answered_of, read_among
from spavl.records import Split
from spavl.store.files import all_files
from spavl.text.encodable import is_encodable
from spavl.text.file_groups import ABOUT_TABLES, OTHER_TABLES, by_likes

# The formats that are read. If a split has several, the first of them is used.
_ENDINGS = (".parquet", ".arrow", ".jsonl", ".json", ".csv", ".tsv")
# Formats that state the types of their columns.
_TYPED = (".parquet", ".arrow")
# The rows of a text file whose columns are looked at before it is read; later rows may have more.
_LOOKED_AT = 256
# A folder of a table that is partitioned by the values of a column, as in `part=1`.
_PARTITION = re.compile(r"[^=]+=[^=]*")
# The value in the name of such a folder where the column is empty.
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_SPLITS: tuple[tuple[str, Split, bool | None], ...] = (
    ("train", "train", None),
    ("validation", "validation", None),
    ("harm", "test", True),
    ("help", "test", False),
    ("harm", "held_out", True),
    ("help", "held_out", False),
)
_FORMS = (
    "question, chosen, rejected and image; prompt, instruction, messages or conversations with chosen, rejected and "
    "images; messages, rejected_response or rejected_messages, and images; or for supervised fine-tuning messages or "
    "conversations alone, prompt and completion, or instruction and output, with images"
)
# Endings of files that may hold data.
_TABLES = {*_ENDINGS, *OTHER_TABLES, ".ndjson", ".npy", ".npz"}
_TABLES |= {".tar", ".tgz", ".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
_META = "meta_files"
# `datasets` writes this file where it saves one split; its tables are then named data-*.arrow.
_SAVED_ALONE = "state.json"
# The columns of images: bytes, or names of files. Image folders of `datasets` name them by `file_name`.
_IMAGES = ("images", "image", "file_name")
# The other columns that are read, of published SPA-VL and of spavl's own data sets.
_TOLD = {*_IMAGES, "image_name", "image_source", "image_license", "image_caption", "kind", "contrast"}
_TOLD |= {"class1", "class2", "class3", "chosen_model", "rejected_model", "chosen_verdict_label"}
_TOLD |= {"rejected_verdict_label", "published_chosen_label", "published_rejected_label"}
# The file names of splits, as in train-*.parquet.
NAMES = tuple(dict.fromkeys(start for start, _, _ in _SPLITS))
# A row of any of these can be read: a test question, a pair, or a question with one answer.
_ROWS: tuple[set[str], ...] = (
    {"question"},
    {"chosen", "rejected"},
    {"messages"},
    {"conversations"},
    {"prompt", "completion"},
    {"instruction", "output"},
)


class ImportedRow(NamedTuple):
    """A row of any format. The answers of a test question are None."""

    split: Split
    harmful: bool | None
    images: Sequence[bytes]
    question: str | None
    chosen: str | None
    rejected: str | None
    # The system prompt; a sample has no field for it.
    system: str
    # The role of an answer's turn if it is not the assistant's; else empty.
    other_speaker: str
    # Whether the question has words both before and after its image.
    is_amid: bool
    # All cells of the row, by the name of the column.
    more: dict[str, Any]
    # Whether its texts can be encoded as UTF-8; if not, nothing of the row is read.
    is_encodable: bool = True


def fetch(name: str) -> Path:
    """The folder of a data set: the local folder of this name, or else a download from the hub."""
    if Path(name).is_dir():
        return Path(name)
    repo, _, revision = name.partition("@")
    if repo.count("/") != 1 or name.startswith((".", "/")):
        then = "give a folder that is there, or a hub's OWNER/NAME or OWNER/NAME@REVISION such as sqrti/SPA-VL"
        raise ConfigError("there is no such folder of data", where=name, then=then)
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise MissingExtra(f"asking a hub needs {error.name}", then=how_to_install("hub")) from None
    try:
        wanted = [*(f"*{ending}" for ending in _ENDINGS), "meta_files/*"]
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision or None, allow_patterns=wanted))
    except Exception as error:  # the client has dozens, and no common base
        then = "look at the name; or download it by hand and give its folder"
        raise ProviderError(f"the hub did not give this data set: {error}", where=name, then=then) from error


def revision_of(folder: Path) -> str | None:
    """The commit of a download from the hub, whose folder has it as its name; None for any other folder."""
    return folder.name if re.fullmatch("[0-9a-f]{40}", folder.name) else None


def files_of(folder: Path) -> list[tuple[Path, Split, bool | None]]:
    """The data files in the order of their splits. If a split has rich rows, these are read instead of the plain ones.

    All files of a split must be in one folder: several folders may be several data sets, such as a hub's configs.
    A split's files must have one format; the others are not read.
    """
    every = [file for file in all_files(folder) if _ending(file) in _ENDINGS and not _is_aside(folder, file)]
    rich = [file for file in every if file.parent.name == "rich"]
    found = []
    for start, split, harmful in _SPLITS:
        own = [file for file in every if (file.parent.name == "held_out") == (split == "held_out")]
        named = [file for file in own if _split_in(file, folder) == start]
        named = next(filter(None, ([file for file in named if _ending(file) == each] for each in _ENDINGS)), [])
        plain = [file for file in named if file not in rich]
        chosen = [file for file in named if file in rich] or plain
        _refuse_several(folder, start, chosen)
        found += [(file, split, harmful) for file in chosen]
    if not found:
        kinds = ", ".join(_ENDINGS)
        then = f"name its files train-*.parquet or train/*.parquet (or {kinds}), with the columns {_FORMS}"
        raise ConfigError("no files of a data set in this folder", where=str(folder), then=then)
    return found


def _refuse_several(folder: Path, start: str, files: Sequence[Path]) -> None:
    if len(places := sorted({_above_partitions(file) for file in files})) > 1:
        named = ", ".join(place.relative_to(folder).as_posix() for place in places)
        what = f"{start}-*.parquet are in {len(places)} folders, which may be {len(places)} data sets: {named}"
        raise ConfigError(what, where=str(folder), then=f"give one of them, such as {places[0]}; or put them together")


def passed_over(folder: Path) -> list[str]:
    """The data files that are not read, because of their split, name or format; similar names are grouped into one."""
    taken = {file for file, _, _ in files_of(folder)}
    # The plain files of a split count as read if its rich rows are read.
    rich = {_split_in(file, folder) for file in taken if file.parent.name == "rich"}
    left = []
    for file in all_files(folder):
        is_read = file in taken or (_ending(file) == ".parquet" and _split_in(file, folder) in rich)
        if _ending(file) in _TABLES and not _is_aside(folder, file) and not is_read:
            left.append(file.relative_to(folder).as_posix())
    return by_likes(left)


def _ending(file: Path) -> str:
    return file.suffix.lower()


def _is_aside(folder: Path, file: Path) -> bool:
    """Whether a file only describes a data set, or is in a hidden folder."""
    parts = file.relative_to(folder).parts
    return parts[0] == _META or file.name in ABOUT_TABLES or any(part[0] == "." for part in parts)


def _split_in(file: Path, folder: Path) -> str:
    """The split by the name of a file, such as train-0000.parquet; else by its folder, as in train/data_0.parquet."""
    named = file.name.partition(".")[0].partition("-")[0]
    place = _above_partitions(file)
    if place == folder and named == "data" and (folder / _SAVED_ALONE).is_file():
        return "train"
    return named if named in NAMES or place == folder else place.name.removeprefix("partial-")


def _above_partitions(file: Path) -> Path:
    """The folder of a table's files, without the folders of its partitions."""
    return next(place for place in file.parents if not _PARTITION.fullmatch(place.name))


def _partition_cells(file: Path) -> dict[str, str | None]:
    """The cells of all rows of a file that are written in the names of its folders, as in `class1=Toxic`."""
    places = takewhile(lambda place: _PARTITION.fullmatch(place.name), file.parents)
    pairs = (place.name.split("=") for place in places)
    return {unquote(name): None if value == _NO_VALUE else unquote(value) for name, value in pairs}


class _SurveyedFile(NamedTuple):
    """The facts about a file that are read before its rows."""

    rows: int
    names: tuple[str, ...]
    texts: tuple[str, ...]
    # Its columns of images with their types if no such type can hold images; else empty.
    no_images: str = ""


def count(folder: Path) -> int:
    files = [file for file, _, _ in files_of(folder)]
    return sum(each.rows for each in rows_apart(_survey, files))


def unread_of(folder: Path) -> list[str]:
    """The text columns that the import does not read, such as instructions. Rich rows of spavl are not checked."""
    plain = [file for file, _, _ in files_of(folder) if file.parent.name != "rich"]
    texts = {name for each in rows_apart(_survey, plain) for name in set(each.texts) - read_among(each.names)}
    return sorted(texts - _TOLD)


def rows_of(folder: Path) -> Iterator[ImportedRow]:
    """Every row of the data set, as a stream."""
    for file, split, harmful in files_of(folder):
        (surveyed,) = rows_apart(_survey, [file])
        if not surveyed.rows:
            continue
        of_all = _partition_cells(file)
        names = {*surveyed.names, *of_all}
        if not names & {*_IMAGES} or not any(needed <= names for needed in _ROWS):
            then = f"known are the columns {_FORMS}"
            told = ", ".join(surveyed.names) or "none"
            raise ConfigError(f"not a preference set; its columns are {told}", where=str(file), then=then)
        if surveyed.no_images:
            then = "write the bytes of the images into it, not their names or addresses"
            what = f"the column {surveyed.no_images}, which holds no images"
            raise ConfigError(what, where=str(file), then=then)
        for row in row_files.rows(file):
            if _ending(file) in (".jsonl", ".json") and not is_encodable(row.cells):
                yield ImportedRow(split, harmful, (), None, None, None, "", "", False, {}, is_encodable=False)
                continue
            cells = {**of_all, **row.cells}
            yield ImportedRow(split, harmful, _images(row, folder), *_pair_of_cells(cells), cells)


def _pair_of_cells(cells: Mapping[str, Any]) -> ConversationPair:
    try:
        return answered_of(cells)
    except (TypeError, AttributeError, ValueError, LookupError):
        # A cell that is neither a text nor a list of turns has no question.
        return ConversationPair(None, None, None, "")


def _images(row: row_files.BenchmarkRow, folder: Path) -> Sequence[bytes]:
    """The images of the first column that has any in this row; empty if they cannot be read."""
    for column in _IMAGES:
        with contextlib.suppress(ConfigError):
            found = row.maybe_images(column, (row.file.parent, folder))
            if found and (images := found()):
                return images
    return ()


def _survey(files: Sequence[Path]) -> Iterator[_SurveyedFile | FileOpened]:
    for file in files:
        yield FileOpened(str(file))
        try:
            yield _survey_of_types(file) if _ending(file) in _TYPED else _survey_of_texts(file)
        except ConfigError:
            raise
        except Exception as error:  # an invalid file may fail in any way
            raise unreadable(file, error) from None


def _survey_of_types(file: Path) -> _SurveyedFile:
    schema, rows = schema_and_rows(file)
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    kinds = {name: schema.field(name).type for name in _IMAGES if schema.names.count(name) == 1}
    told = " and ".join(f"{name} is {kind}" for name, kind in kinds.items())
    no_images = "" if any(map(holds_images, kinds.values())) else told
    return _SurveyedFile(rows, tuple(schema.names), tuple(texts), no_images)


def _survey_of_texts(file: Path) -> _SurveyedFile:
    """The columns of the first rows: each row of JSON may leave some out."""
    rows, first = 0, dict[str, Any]()
    for row in row_files.rows(file):
        rows += 1
        if rows <= _LOOKED_AT:
            first |= {name: cell for name, cell in row.cells.items() if first.get(name) is None}
    return _SurveyedFile(rows, tuple(first), tuple(name for name, cell in first.items() if isinstance(cell, str)))
