from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field

from spavl.data.dataset.config import LeaksConfig
from spavl.data.dataset.shards import ParquetShards
from spavl.stages.notes import JsonEstimate, JsonRecord, RegionNotes, StageNotes


class SplitCounts(JsonRecord):
    pairs: int
    images: int
    questions: int


class PairCounts(JsonRecord):
    """Numbers of pairs and images, and the unsafe rates of their answers by the guard's verdicts."""

    pairs: int
    images: int
    chosen_unsafe: JsonEstimate
    rejected_unsafe: JsonEstimate


class ClassCounts(JsonRecord):
    """The same as `PairCounts`, for one class of the taxonomy."""

    domain: str
    name: str = Field(alias="class")
    pairs: int
    images: int
    chosen_unsafe: JsonEstimate
    rejected_unsafe: JsonEstimate


class LongerChosen(JsonRecord):
    """Pairs whose chosen answer is the longer one, out of the pairs whose answers differ in length."""

    pairs: int
    of: int


class DatasetCounts(JsonRecord):
    """Counts over the pairs of the data set."""

    splits: Mapping[str, SplitCounts]
    total: PairCounts = Field(alias="all")
    classes: tuple[ClassCounts, ...]
    kind: Mapping[str, int]
    contrast: Mapping[str, int]
    harmful: Mapping[str, int]
    license: Mapping[str, int]
    # Pairs by whether the URL of the image is known.
    url: Mapping[str, int] = {}
    models: Mapping[str, Mapping[str, int]]
    # For the question and the two answers: the 10th, 50th and 90th percentile of the length in words.
    words: Mapping[str, tuple[int, ...]]
    chosen_longer: LongerChosen


class DroppedPrompts(JsonRecord):
    """The number of imported pairs whose system prompt was dropped, and of distinct prompts among them."""

    rows: int
    texts: int


class ImportNotes(NamedTuple):
    """Notes on a data set that only an import makes."""

    leaks_left_in: int | None = None
    dropped_system_prompts: DroppedPrompts | None = None
    # Rows whose image was between words of the question.
    images_amid: int | None = None
    files_not_read: tuple[str, ...] | None = None
    # The commit of a data set from a hub.
    revision: str | None = None
    # Its images, if they were searched.
    faces: RegionNotes | None = None
    personal_words: RegionNotes | None = None


class DatasetNotes(StageNotes):
    """What the folder of the data set contains. If an older spavl imported it, some fields are missing."""

    # By "config/split".
    files: Mapping[str, ParquetShards] | None = None
    counts: DatasetCounts | None = Field(None, alias="figures")
    license: str | None = None
    test_questions_wanted: int = 0
    audited: LeaksConfig | None = None
    kept_unsafe_chosen: bool = False
    kept_refusing_chosen: bool = False
    leaks_left_in: int | None = None
    repeated_questions: int = 0
    # The rest is explained at `ImportNotes`.
    dropped_system_prompts: DroppedPrompts | None = None
    images_amid: int | None = None
    files_not_read: tuple[str, ...] | None = None
    revision: str | None = None
    faces: RegionNotes | None = None
    personal_words: RegionNotes | None = None
