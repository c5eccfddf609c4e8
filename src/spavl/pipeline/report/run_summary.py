"""The content of summary.json as a typed record: `as_json` writes it, `model_validate_json` reads it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from spavl.data.captions.notes import CaptionsNotes
from spavl.data.dataset.notes import LongerChosen
from spavl.data.downloads.config import DownloadsConfig
from spavl.data.pairs.notes import TierNotes
from spavl.data.preferences.notes import AgreementNotes, JudgeBiasNotes
from spavl.data.questions.notes import QuestionsNotes
from spavl.data.selection.config import SelectionConfig
from spavl.data.verdicts.notes import QuestionVerdictsNotes
from spavl.publishing.build_notes import OwnPrompts, RunModels
from spavl.publishing.privacy import PrivacyRow
from spavl.stages.notes import CanaryNotes, JsonEstimate, JsonRecord


class BeforeAndAfter(JsonRecord):
    """A rate before and after training."""

    before: JsonEstimate | None = None
    after: JsonEstimate | None = None


class RateSet(JsonRecord):
    """The rates of one set of questions."""

    unsafe_rate: BeforeAndAfter | None = None
    over_refusal: BeforeAndAfter | None = None
    names_the_object: BeforeAndAfter | None = None


class PValues(JsonRecord):
    """The p value of the paired test of each rate."""

    names_the_object: float | None = None
    over_refusal: float | None = None
    unsafe_rate: float | None = None


class EvaluationSummary(RateSet):
    """The evaluation of a run. The inherited fields are the rates of held-out images."""

    held_out_leaves: RateSet | None = None
    blank_image: RateSet | None = None
    p_values: PValues = PValues()
    help_win_rate: JsonEstimate | None = None
    # The rates that are withheld because too many answers could not be judged.
    withheld: tuple[str, ...] = ()


class EvalSetSizes(JsonRecord):
    """How many questions HarmEval and HelpEval have."""

    harm: int
    help: int


class DatasetTotals(JsonRecord):
    """Totals of the data set; the data card has them by class."""

    pairs: int
    images: int
    chosen_unsafe: JsonEstimate
    rejected_unsafe: JsonEstimate
    pairs_by_split: Mapping[str, int]
    test_questions: EvalSetSizes
    contrast: Mapping[str, int]
    chosen_longer: LongerChosen


class StageRow(JsonRecord):
    """What a stage made: rows, rejects by reason, and how long it took."""

    rows: int
    rejects: Mapping[str, int]
    seconds: float


class ImageSettings(JsonRecord):
    """The settings of the image filters. In JSON the keys are setting names, such as `downloads.min_side`."""

    downloads: DownloadsConfig | None = None
    selection: SelectionConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        nested: dict[str, Any] = {}
        for name, value in given.items():
            section, dot, setting = name.partition(".")
            if dot:
                nested.setdefault(section, {})[setting] = value
            else:
                nested[name] = value
        return nested

    @model_serializer(mode="wrap")
    def _serialize(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        sections = {section: settings for section, settings in dump(self).items() if settings is not None}
        every = {f"{section}.{name}": value for section, own in sections.items() for name, value in own.items()}
        return {name: value for name, value in every.items() if not isinstance(value, dict)}


class OrderedPairs(JsonRecord):
    """The share of pairs that the reward model ranks correctly, of training pairs and of held-out pairs."""

    taught: JsonEstimate | None = None
    held_out: JsonEstimate | None = None


class StageCalls(JsonRecord):
    """The model calls of a stage."""

    calls: int
    usd: float
    tokens_in: int
    tokens_out: int
    made_again: int = 0


class RunSummary(EvaluationSummary):
    """Everything in summary.json. Parts that a run does not have are empty, and most of these are not written."""

    written_as_null: ClassVar[tuple[str, ...]] = ("seed", "limit")

    canaries: CanaryNotes | None = None
    dataset: DatasetTotals | None = None
    stages: Mapping[str, StageRow] = {}
    image_settings: ImageSettings = Field(ImageSettings(), alias="pictures")
    privacy: tuple[PrivacyRow, ...] | None = None
    captions: CaptionsNotes = Field(CaptionsNotes(), alias="descriptions")
    questions: QuestionsNotes = QuestionsNotes()
    question_verdicts: QuestionVerdictsNotes = QuestionVerdictsNotes()
    reward_model_in_order: OrderedPairs | None = None
    tiers: tuple[TierNotes, ...] | None = None
    judge_bias: JudgeBiasNotes | None = Field(None, alias="judge")
    agreement: AgreementNotes | None = None
    canaries_failed: tuple[str, ...] | None = None
    # By model: the number of degenerate answers of each kind.
    degenerate: Mapping[str, Mapping[str, int]] | None = None
    calls: int | None = None
    calls_made_again: int | None = None
    calls_by_stage: Mapping[str, StageCalls] = {}
    usd: float | None = None
    usd_lost_at_most: float = 0.0
    seconds: float | None = None
    seed: int | None = None
    # The maximum number of images (--limit).
    limit: int | None = None
    models: RunModels = RunModels()
    own_prompts: OwnPrompts = OwnPrompts()
    versions: Mapping[str, str] = {}
