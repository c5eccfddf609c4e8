"""The data behind a build's report and data card: the notes of its stages, and its models and prompts by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import Field

from spavl.data.captions.config import SPEC as CAPTIONS
from spavl.data.captions.notes import CaptionsNotes
from spavl.data.dataset.config import SPEC as DATASET
from spavl.data.dataset.notes import DatasetNotes
from spavl.data.pairs.config import SPEC as PAIRS
from spavl.data.pairs.notes import PairsNotes
from spavl.data.preferences.config import SPEC as PREFERENCES
from spavl.data.preferences.notes import PreferencesNotes
from spavl.data.questions.config import SPEC as QUESTIONS
from spavl.data.questions.notes import QuestionsNotes
from spavl.data.responses.config import SPEC as RESPONSES
from spavl.data.responses.notes import ResponsesNotes
from spavl.data.selection.config import SPEC as SELECTION
from spavl.data.selection.notes import SelectionNotes
from spavl.data.verdicts.config import QUESTIONS as QUESTION_VERDICTS
from spavl.data.verdicts.config import SPEC as VERDICTS
from spavl.data.verdicts.notes import QuestionVerdictsNotes, VerdictsNotes
from spavl.judges.canaries.checks import STAGE as CANARIES
from spavl.stages.notes import CanariesNotes, JsonRecord, StageNotes
from spavl.store import Manifest
from spavl.training.config import SPEC as TRAINING
from spavl.training.objectives.notes import TrainingNotes

N = TypeVar("N", bound=StageNotes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildNotes:
    """The notes of the finished stages of a build; the notes of other stages are empty."""

    selection: SelectionNotes
    captions: CaptionsNotes
    questions: QuestionsNotes
    question_verdicts: QuestionVerdictsNotes
    responses: ResponsesNotes
    verdicts: VerdictsNotes
    pairs: PairsNotes
    preferences: PreferencesNotes
    dataset: DatasetNotes
    training: TrainingNotes
    canaries: CanariesNotes

    @classmethod
    def of(cls, manifests: Iterable[Manifest]) -> "BuildNotes":
        finished = {manifest.stage: manifest for manifest in manifests}

        def read(kind: type[N], stage: str) -> N:
            return kind.of(finished[stage]) if stage in finished else kind()

        return cls(
            selection=read(SelectionNotes, SELECTION.stage),
            captions=read(CaptionsNotes, CAPTIONS.stage),
            questions=read(QuestionsNotes, QUESTIONS.stage),
            question_verdicts=read(QuestionVerdictsNotes, QUESTION_VERDICTS.stage),
            responses=read(ResponsesNotes, RESPONSES.stage),
            verdicts=read(VerdictsNotes, VERDICTS.stage),
            pairs=read(PairsNotes, PAIRS.stage),
            preferences=read(PreferencesNotes, PREFERENCES.stage),
            dataset=read(DatasetNotes, DATASET.stage),
            training=read(TrainingNotes, TRAINING.stage),
            canaries=read(CanariesNotes, CANARIES),
        )

    @property
    def failed_canaries(self) -> tuple[str, ...]:
        """The messages about judges that failed canaries, without duplicates."""
        asked = (self.question_verdicts, self.verdicts, self.preferences, self.canaries)
        failed = (text for notes in asked if notes.canaries for text in notes.canaries.failed)
        return tuple(dict.fromkeys(failed))


class RunModels(JsonRecord):
    """The models of a run by role; None if unknown, as for an imported data set."""

    writer: str | None = None
    responders: tuple[str, ...] | None = None
    guard: str | None = None
    judge: str | None = None
    before: str | None = None
    after: str | None = None


class OwnPrompts(JsonRecord):
    """The user's own prompts for guards and judges, each with the hash of its text."""

    guard: str | None = None
    judge: str | None = None
    second_judge: str | None = None
    evaluation_guard: str | None = Field(None, alias="evaluation.guard")
    evaluation_judge: str | None = Field(None, alias="evaluation.judge")
