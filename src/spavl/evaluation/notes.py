"""The notes of an evaluation's stages in their manifests: one record for each stage."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import PlainSerializer, PlainValidator

from spavl.errors import StoreError
from spavl.evaluation.judge_assignment import JudgeAssignment
from spavl.judges.gold_answers import JudgedGoldAnswers
from spavl.stages.notes import StageNotes
from spavl.stages.spec import StageSpec
from spavl.store import RunFolder
from spavl.store.typed_json import from_json, to_json


def _read_judges(given: Any) -> JudgeAssignment:
    return given if isinstance(given, JudgeAssignment) else from_json(JudgeAssignment, given)


def _read_gold_answers(given: Any) -> JudgedGoldAnswers | None:
    return from_json(JudgedGoldAnswers, given) if isinstance(given, dict) else given


class ItemsNotes(StageNotes):
    # By benchmark: one line on what it measures.
    benchmarks: Mapping[str, str]
    # The number of a build's questions on which the guard contradicts the writer. No model is asked them.
    contested: int = 0


class AnswersNotes(StageNotes):
    # By the name of each tested model and baseline: the model's own name, down to its revision.
    names: Mapping[str, str]
    asked: int


class JudgementsNotes(StageNotes):
    judges: Annotated[JudgeAssignment, PlainValidator(_read_judges), PlainSerializer(to_json)]
    gold_answers: Annotated[JudgedGoldAnswers | None, PlainValidator(_read_gold_answers), PlainSerializer(to_json)] = (
        None
    )


class PairwiseNotes(StageNotes):
    # The judge's own name.
    judge: str


class OverlapsNotes(StageNotes):
    """The training data that the items were compared with, and how many overlaps of each kind were found."""

    images: int
    questions: int
    unreadable: int
    without_image: int
    faults: tuple[str, ...]
    kinds: Mapping[str, int]
    # What no item could be compared with, because none of it was read: then what was seen of it is unknown.
    not_compared: tuple[Literal["image", "question"], ...] = ()
    # The items' images of a single colour.
    blank: tuple[str, ...] = ()


N = TypeVar("N", bound=StageNotes)


def notes_of(run: RunFolder, stage: StageSpec[Any], kind: type[N]) -> N:
    """The notes of a finished stage. Raises if the stage is not finished."""
    manifest = run.manifest(stage.stage)
    if manifest is None:
        then = "type the same spavl eval again: it does what is missing"
        raise StoreError(f"the stage {stage.stage} is not finished", where=str(run.path), then=then)
    return kind.of(manifest)
