"""The rows of a data set on disk or on a hub, whatever its form: published SPA-VL, spavl's own, or a trainer's."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import ConfigError, MissingExtra, ProviderError, how_to_install
from spavl.imaging.columns import holds_images
from spavl.publishing.importing.turns import READ, answered_of
from spavl.records import Split
from spavl.text.names import by_likes

_ROWS = 64
_SPLITS: tuple[tuple[str, Split, bool | None], ...] = (
    ("train", "train", None),
    ("validation", "validation", None),
    ("harm", "test", True),
    ("help", "test", False),
    ("harm", "held_out", True),
    ("help", "held_out", False),
)
_FORMS = (
    "question, chosen, rejected and image; prompt, messages or conversations with chosen, rejected and images; "
    "or messages, rejected_response and images"
)
# What data sets are kept in, and what only tells of one that lies beside it.
_TABLES = {".parquet", ".arrow", ".json", ".jsonl", ".csv", ".tsv", ".tar", ".zip", ".gz", ".zst"}
_NO_TABLES = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_META = "meta_files"
# What else is read of a row, by the columns of published SPA-VL and of spavl's own.
_TOLD = {"image", "images", "image_name", "image_source", "image_license", "image_caption", "kind", "contrast"}
_TOLD |= {"class1", "class2", "class3", "chosen_model", "rejected_model", "chosen_verdict_label"}
_TOLD |= {"rejected_verdict_label", "published_chosen_label", "published_rejected_label"}
# What is called a split's table here, as in train-*.parquet.
NAMES = tuple(dict.fromkeys(start for start, _, _ in _SPLITS))
_PREFERENCES = ({"question"}, {"chosen", "rejected"}, {"messages", "rejected_response"})


class Row(NamedTuple):
    """A row in one form. An empty chosen answer is that of a test question, which has none."""

    split: Split
    harmful: bool | None
    pictures: Sequence[bytes]
    question: str | None
    chosen: str | None
    rejected: str | None
    # What stands before the question for the model alone; a sample has no place for it.
    system: str
    # Whose turn one of the answers is, where it is not the assistant's.
    other_speaker: str
    # Whether the question's words stand before its picture and after it.
    is_amid: bool
    # Whatever else its data set says of it, by the name of the column.
    more: dict[str, Any]


def fetch(name: str) -> Path:
    """The folder of a data set: the one of this name here, or else a copy from the hub."""
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/")):
        then = "give a folder that is there, or a hub's OWNER/NAME such as sqrti/SPA-VL"
        raise ConfigError("there is no such folder of data", where=name, then=then)
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise MissingExtra(f"asking a hub needs {error.name}", then=how_to_install("hub")) from None
    try:
        wanted = ["*.parquet", "meta_files/*"]
        return Path(snapshot_download(name, repo_type="dataset", allow_patterns=wanted))
    except Exception as error:  # the client has dozens, and no common base
        then = "look at the name; or download it by hand and give its folder"
        raise ProviderError(f"the hub did not give this data set: {error}", where=name, then=then) from error


def files_of(folder: Path) -> list[tuple[Path, Split, bool | None]]:
    """The Parquet files in the order of their splits. Where rich rows are, they stand for the plain ones.

    Files of one split lie in one folder: several are several data sets, as those that a hub calls configs.
    """
    every = sorted(folder.rglob("*.parquet"))
    rich = [file for file in every if file.parent.name == "rich"]
    found = []
    for start, split, harmful in _SPLITS:
        own = [file for file in every if (file.parent.name == "held_out") == (split == "held_out")]
        named = [file for file in own if file.name.startswith(f"{start}-")]
        plain = [file for file in named if file not in rich]
        chosen = [file for file in named if file in rich] or plain
        _refuse_several(folder, start, chosen)
        found += [(file, split, harmful) for file in chosen]
    if not found:
        then = f"give a folder with train-*.parquet files that have columns {_FORMS}"
        raise ConfigError("no Parquet files of a data set in this folder", where=str(folder), then=then)
    return found


def _refuse_several(folder: Path, start: str, files: Sequence[Path]) -> None:
    if len(places := sorted({file.parent for file in files})) > 1:
        named = ", ".join(place.relative_to(folder).as_posix() for place in places)
        what = f"{start}-*.parquet are in {len(places)} folders, which may be {len(places)} data sets: {named}"
        raise ConfigError(what, where=str(folder), then=f"give one of them, such as {places[0]}; or put them together")


def passed_over(folder: Path) -> list[str]:
    """The files of data that are not read, likes by one name: those of other splits, names and forms."""
    taken = {file for file, _, _ in files_of(folder)}
    # What rich rows stand for is read with them.
    rich = {_split_in(file) for file in taken if file.parent.name == "rich"}
    left = []
    for file in sorted(folder.rglob("*")):
        place = file.relative_to(folder)
        is_aside = place.parts[0] == _META or file.name in _NO_TABLES or any(part[0] == "." for part in place.parts)
        is_read = file in taken or (file.suffix == ".parquet" and _split_in(file) in rich)
        if file.suffix in _TABLES and not is_aside and not is_read and file.is_file():
            left.append(place.as_posix())
    return by_likes(left)


def _split_in(file: Path) -> str:
    return file.name.partition("-")[0]


def count(folder: Path) -> int:
    return sum(_opened(file).metadata.num_rows for file, _, _ in files_of(folder))


def unread_of(folder: Path) -> list[str]:
    """The columns of texts that nothing here reads, such as instructions; spavl's own rich rows tell much besides."""
    plain = [file for file, _, _ in files_of(folder) if file.parent.name != "rich"]
    fields = [field for file in plain for field in _opened(file).schema_arrow]
    texts = {field.name for field in fields if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)}
    return sorted(texts - READ - _TOLD)


def rows_of(folder: Path) -> Iterator[Row]:
    """Every row, a few in memory at a time."""
    for file, split, harmful in files_of(folder):
        opened = _opened(file)
        names = set(opened.schema_arrow.names)
        if not names & {"image", "images"} or not any(needed <= names for needed in _PREFERENCES):
            then = f"known are the columns {_FORMS}"
            raise ConfigError(f"not a preference set; its columns are {', '.join(names)}", where=str(file), then=then)
        column = "images" if "images" in names else "image"
        if not holds_images(kind := opened.schema_arrow.field(column).type):
            then = "write the bytes of the images into it, not their names or addresses"
            raise ConfigError(f"the column {column} is {kind}, which holds no images", where=str(file), then=then)
        for batch in opened.iter_batches(_ROWS):
            for row in batch.to_pylist():
                yield _row(row, split, harmful)


def _opened(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"not a Parquet file: {error}", where=str(file), then="download it again") from None


def _row(row: dict[str, Any], split: Split, harmful: bool | None) -> Row:
    pictures = _bytes_in(row["images" if "images" in row else "image"])
    return Row(split, harmful, pictures, *answered_of(row), row)


def _bytes_in(cell: Any) -> list[bytes]:
    """The images of a cell: bytes, a struct of them, or a list of either."""
    if isinstance(cell, list):
        return [image for each in cell for image in _bytes_in(each)]
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    return [data] if isinstance(data, bytes) and data else []
