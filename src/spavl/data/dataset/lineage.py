"""The rich rows: a sample with every field of every record it came from.

The columns are generated from the records' fields, so that a new field of a record gets its
column without a change here. A stage that a run does not have adds no columns.
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
    PublishedFacts,
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
    """A record that a sample came from: its table, and the column that holds its key."""

    role: str
    stage: str
    kind: type[Record]
    # The column of the rich row that holds the key; the columns of ancestors earlier in the list can be used.
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
    SourceRecord("published", "published", PublishedFacts, "id", by="sample_id"),
)


class Lineage:
    """Looks up the ancestors of samples in the tables of a run, without loading whole tables."""

    def __init__(self, run: RunFolder) -> None:
        self._blobs = run.blobs
        self._ancestors = [each for each in ANCESTORS if run.manifest(each.stage)]
        # Chosen and rejected answers are in the same table, which is opened once.
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
                    # Computing an id means hashing the record, so the key is used if it is the id.
                    row[f"{each.role}_id"] = row[each.key] if each.by == "id" else found.id
            row["image_name"] = image_name(row.get("image_decisions") or (), image["path"])
            yield row


def without_folders(source: str) -> str:
    """The source of an image without the folders of this machine, because the data set will be published."""
    scheme, _, place = source.partition(":")
    if scheme == "file":
        return f"file:{PurePath(place).name}"
    if scheme in ("tar", "parquet", "arrow"):
        path, mark, inside = place.partition("#")
        return f"{scheme}:{PurePath(path).name}{mark}{inside}"
    return without_parents(source)


def without_parents(name: str) -> str:
    """The last part of an absolute path; any other name as it is."""
    path = PurePath(name)
    return path.name if path.is_absolute() else name
