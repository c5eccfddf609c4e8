"""The notes that an evaluation's stages leave in their manifests: one record for each stage, one writer, one reader."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from spavl.errors import StoreError
from spavl.evaluation.judge_assignment import JudgeAssignment
from spavl.judges.gold_answers import JudgedGoldAnswers
from spavl.stages.spec import StageSpec
from spavl.store import RunFolder
from spavl.store.typed_json import NotThisRecord, from_json, to_json


class ItemsNotes(NamedTuple):
    # By benchmark: one line on what it measures.
    benchmarks: Mapping[str, str]
    # The questions of a build whose guard contradicts their writer. They are asked of nobody.
    contested: int = 0


class AnswersNotes(NamedTuple):
    # By the name of each tested model and baseline: the model's own name, down to its revision.
    names: Mapping[str, str]
    asked: int


class JudgementsNotes(NamedTuple):
    judges: JudgeAssignment
    gold_answers: JudgedGoldAnswers | None


class OverlapsNotes(NamedTuple):
    """The training data that the items were compared with, and how many overlaps of each kind were found."""

    images: int
    questions: int
    unreadable: int
    without_image: int
    faults: tuple[str, ...]
    kinds: Mapping[str, int]


T = TypeVar("T", ItemsNotes, AnswersNotes, JudgementsNotes, OverlapsNotes)


def as_notes(notes: ItemsNotes | AnswersNotes | JudgementsNotes | OverlapsNotes) -> dict[str, object]:
    found: dict[str, object] = to_json(notes)
    return found


def notes_of(run: RunFolder, stage: StageSpec[Any], kind: type[T]) -> T:
    """The notes of a stage that is finished."""
    manifest = run.manifest(stage.stage)
    then = "type the same spavl eval again: it does what is missing"
    if manifest is None:
        raise StoreError(f"the stage {stage.stage} is not finished", where=str(run.path), then=then)
    try:
        return from_json(kind, manifest.notes)
    except NotThisRecord as error:
        what = f"the notes of the stage {stage.stage} are of another version of spavl: {error}"
        raise StoreError(what, where=str(run.path), then="evaluate into another folder with --out") from None
