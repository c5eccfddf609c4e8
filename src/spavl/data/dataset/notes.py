from collections.abc import Mapping
from typing import NamedTuple

from pydantic import Field

from spavl.data.dataset.config import LeaksConfig
from spavl.data.dataset.shards import ParquetShards
from spavl.stages.notes import JsonEstimate, JsonRecord, StageNotes


class SplitCounts(JsonRecord):
    pairs: int
    images: int
    questions: int


class PairCounts(JsonRecord):
    """Pairs, their images, and the unsafe rates of their answers by the guard."""

    pairs: int
    images: int
    chosen_unsafe: JsonEstimate
    rejected_unsafe: JsonEstimate


class ClassCounts(JsonRecord):
    """The same as `PairCounts`, of one class of the taxonomy."""

    domain: str
    name: str = Field(alias="class")
    pairs: int
    images: int
    chosen_unsafe: JsonEstimate
    rejected_unsafe: JsonEstimate


class LongerChosen(JsonRecord):
    """Pairs whose chosen answer is the longer one, of those whose answers differ in length."""

    pairs: int
    of: int


class DatasetCounts(JsonRecord):
    """What the pairs of the data set are."""

    splits: Mapping[str, SplitCounts]
    total: PairCounts = Field(alias="all")
    classes: tuple[ClassCounts, ...]
    kind: Mapping[str, int]
    contrast: Mapping[str, int]
    harmful: Mapping[str, int]
    license: Mapping[str, int]
    # Whether the address of the image is known.
    url: Mapping[str, int] = {}
    models: Mapping[str, Mapping[str, int]]
    # Of the question and the two answers: the lengths in words at the first tenth, the middle and the last tenth.
    words: Mapping[str, tuple[int, ...]]
    chosen_longer: LongerChosen


class DroppedPrompts(JsonRecord):
    """Imported pairs whose system prompt was dropped, and how many different prompts these were."""

    rows: int
    texts: int


class ImportNotes(NamedTuple):
    """What only an import notes about a data set."""

    leaks_left_in: int | None = None
    dropped_system_prompts: DroppedPrompts | None = None
    # Rows whose image stood between the words of the question.
    images_amid: int | None = None
    files_not_read: tuple[str, ...] | None = None
    # The commit of a data set from a hub.
    revision: str | None = None


class DatasetNotes(StageNotes):
    """What the folder of the data set holds. Data sets that an older spavl imported lack some of it."""

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
