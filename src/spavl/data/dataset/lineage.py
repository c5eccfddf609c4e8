"""The rich rows: a sample with every field of every record it came from.

The columns are made from the records' own fields, so that a field added to one of them is
in the data set without a line here. A stage that a run does not have gives no columns.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

import pyarrow as pa

from spavl.data.dataset.published import CLASSES, class_columns, image_name
from spavl.data.dataset.shards import IMAGE, image_of
from spavl.records import (
    Candidate,
    Category,
    Description,
    DownloadedImage,
    Image,
    Pair,
    Preference,
    Published,
    Question,
    QuestionVerdict,
    Record,
    Response,
    Sample,
    Verdict,
)
from spavl.store import RunFolder
from spavl.store.tables import row_of, schema_of

Row = dict[str, Any]


class SourceRecord(NamedTuple):
    """A record that a sample came from: its table, and which column of which role holds its key there."""

    role: str
    stage: str
    kind: type[Record]
    # The column of the rich row that holds the key; ancestors above this one in the list are there already.
    key: str
    by: str = "id"


ANCESTORS = (
    SourceRecord("preference", "preferences", Preference, "preference_id"),
    SourceRecord("pair", "pairs", Pair, "preference_pair_id"),
    SourceRecord("question", "questions", Question, "question_id"),
    SourceRecord("question_verdict", "question_verdicts", QuestionVerdict, "question_id", by="question_id"),
    SourceRecord("image", "selection", Image, "image_id"),
    SourceRecord("candidate", "sourcing", Candidate, "image_candidate_id"),
    SourceRecord("photo", "downloads", DownloadedImage, "image_candidate_id", by="candidate_id"),
    SourceRecord("description", "captions", Description, "image_id", by="image_id"),
    SourceRecord("category", "taxonomy", Category, "image_category_id"),
    SourceRecord("chosen_response", "responses", Response, "preference_chosen"),
    SourceRecord("rejected_response", "responses", Response, "preference_rejected"),
    SourceRecord("chosen_verdict", "verdicts", Verdict, "preference_chosen", by="response_id"),
    SourceRecord("rejected_verdict", "verdicts", Verdict, "preference_rejected", by="response_id"),
    SourceRecord("published", "published", Published, "id", by="sample_id"),
)


class Lineage:
    """Looks the ancestors of samples up in the tables of a run, which are never held whole."""

    def __init__(self, run: RunFolder) -> None:
        self._blobs = run.blobs
        self._ancestors = [each for each in ANCESTORS if run.manifest(each.stage)]
        # The chosen and the rejected answer are looked up in one table, which is opened once.
        tables = {(each.stage, each.by): run.lookup(each.stage, each.kind, each.by) for each in self._ancestors}
        self._find: dict[str, Callable[[str], Record | None]] = {
            each.role: tables[each.stage, each.by].get for each in self._ancestors
        }

    def schema(self) -> pa.Schema:
        """The published columns first, then the sample's own, then its ancestors'."""
        columns = {"image": pa.field("image", IMAGE), "image_name": pa.field("image_name", pa.string())}
        columns |= {field.name: field for field in schema_of(Sample)}
        columns |= {name: pa.field(name, pa.string()) for name in CLASSES}
        for each in self._ancestors:
            own = {f"{each.role}_{field.name}": field for field in schema_of(each.kind)}
            columns |= {name: pa.field(name, field.type) for name, field in own.items()}
        first = ("image", "question", "chosen", "rejected", "image_name", *CLASSES)
        return pa.schema([columns.pop(name) for name in first] + list(columns.values()))

    def rows(self, samples: Iterable[Sample], leaves: Mapping[str, Category]) -> Iterator[Row]:
        for sample in samples:
            image = image_of(sample.blob, self._blobs)
            row: Row = {**row_of(sample), **class_columns(leaves[sample.leaf])}
            row |= {"image": image, "image_name": image["path"]}
            for each in self._ancestors:
                found = self._find[each.role](row[each.key])
                if found is not None:
                    row |= {f"{each.role}_{name}": value for name, value in found.fields().items()}
                    if (source := f"{each.role}_source") in row:
                        row[source] = without_folders(row[source])
                    # An id is a hash, and the one that was looked up by is known.
                    row[f"{each.role}_id"] = row[each.key] if each.by == "id" else found.id
            row["image_name"] = image_name(row.get("image_decisions") or (), image["path"])
            yield row


def without_folders(source: str) -> str:
    """Where an image was found, without this machine's folders: a data set goes to strangers."""
    scheme, _, place = source.partition(":")
    if scheme == "file":
        return f"file:{PurePath(place).name}"
    if scheme in ("tar", "parquet"):
        path, mark, inside = place.partition("#")
        return f"{scheme}:{PurePath(path).name}{mark}{inside}"
    return source
