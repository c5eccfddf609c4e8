"""The stages in order, and all settings of a build."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import Field

from spavl.config import Settings
from spavl.data.captions import config as captions_stage
from spavl.data.captions.config import CaptionsConfig
from spavl.data.dataset import config as dataset_stage
from spavl.data.dataset.config import DatasetConfig
from spavl.data.downloads import config as downloads_stage
from spavl.data.downloads.config import DownloadsConfig
from spavl.data.pairs import config as pairs_stage
from spavl.data.pairs.config import PairsConfig
from spavl.data.preferences import config as preferences_stage
from spavl.data.preferences.config import PreferencesConfig
from spavl.data.questions import config as questions_stage
from spavl.data.questions.config import QuestionsConfig
from spavl.data.responses import config as responses_stage
from spavl.data.responses.config import ResponsesConfig
from spavl.data.selection import config as selection_stage
from spavl.data.selection.config import SelectionConfig
from spavl.data.sourcing import config as sourcing_stage
from spavl.data.sourcing.config import PER_IMAGE_WANTED, SourcingConfig
from spavl.data.taxonomy import config as taxonomy_stage
from spavl.data.taxonomy.config import TaxonomyConfig
from spavl.data.verdicts import config as verdicts_stage
from spavl.data.verdicts.config import VerdictsConfig
from spavl.errors import ConfigError
from spavl.evaluation import config as evaluation_stages
from spavl.evaluation.before_after import config as before_after
from spavl.evaluation.before_after.config import BeforeAfterConfig
from spavl.models.model_settings import ModelSettings
from spavl.models.remote_code import WHO_IS_TRUSTED, TrustedNames
from spavl.models.wrappers.rate_limit import BatchConfig, PaceConfig
from spavl.records import Record
from spavl.stages.privacy import PrivacyConfig
from spavl.stages.spec import StageSpec
from spavl.store import RunFolder
from spavl.training import config as training_stage
from spavl.training.config import TrainingConfig


def _whole(section: Settings) -> Settings:
    return section


class StageEntry(NamedTuple):
    """A stage of the pipeline. `section` names its settings; `module` is loaded only when it runs."""

    spec: StageSpec[Any]
    section: str
    module: str
    # Selects the settings of the section that the stage depends on.
    part: Callable[[Any], Settings] = _whole

    @property
    def name(self) -> str:
        return self.spec.stage

    @property
    def reads(self) -> tuple[str, ...]:
        return self.spec.reads

    @property
    def writes(self) -> type[Record]:
        return self.spec.writes

    @property
    def does(self) -> str:
        return self.spec.does

    def settings(self, config: "BuildConfig") -> Settings:
        return self.part(getattr(config, self.section))


STAGES = (
    StageEntry(taxonomy_stage.SPEC, "taxonomy", "spavl.data.taxonomy.run"),
    StageEntry(sourcing_stage.SPEC, "sourcing", "spavl.data.sourcing.run"),
    StageEntry(downloads_stage.SPEC, "downloads", "spavl.data.downloads.run"),
    StageEntry(selection_stage.SPEC, "selection", "spavl.data.selection.run"),
    StageEntry(captions_stage.SPEC, "captions", "spavl.data.captions.run"),
    StageEntry(questions_stage.SPEC, "questions", "spavl.data.questions.run"),
    StageEntry(verdicts_stage.QUESTIONS, "verdicts", "spavl.data.verdicts.question_verdicts"),
    StageEntry(responses_stage.SPEC, "responses", "spavl.data.responses.run"),
    StageEntry(verdicts_stage.SPEC, "verdicts", "spavl.data.verdicts.run"),
    StageEntry(pairs_stage.SPEC, "pairs", "spavl.data.pairs.run"),
    StageEntry(preferences_stage.SPEC, "preferences", "spavl.data.preferences.run"),
    StageEntry(dataset_stage.SPEC, "dataset", "spavl.data.dataset.run"),
    StageEntry(training_stage.SPEC, "training", "spavl.training.run"),
    StageEntry(evaluation_stages.ITEMS, "evaluation", "spavl.evaluation.before_after.items", before_after.of_items),
    StageEntry(evaluation_stages.CANARIES, "evaluation", "spavl.evaluation.canaries", before_after.of_canaries),
    StageEntry(evaluation_stages.ANSWERS, "evaluation", "spavl.evaluation.answers", before_after.of_answers),
    StageEntry(evaluation_stages.JUDGEMENTS, "evaluation", "spavl.evaluation.judgements", before_after.of_judgements),
    StageEntry(evaluation_stages.PAIRWISE, "evaluation", "spavl.evaluation.pairwise", before_after.of_pairwise),
)


class BuildConfig(Settings):
    """All settings of a build, in a TOML file or on the command line.

    Without [training] a build ends with the data set, without [evaluation] with the checkpoint.
    """

    seed: int = Field(1, ge=0, description="seed of everything random")
    in_flight: int = Field(256, ge=1, description="rows of a stage in flight")
    budget_usd: float | None = Field(None, ge=0, description="hard spend stop for the whole run, in USD")
    limit: int | None = Field(
        None, ge=1, description="a subset: only so many images, spread over the leaves, are used from the captions on"
    )
    prices: dict[str, tuple[float, float]] = Field(
        {},
        description='USD per million tokens, [in, out], by NAME or openai/NAME@URL: {"gpt-4.1" = [2.0, 8.0]}; wins '
        "over the table that ships",
    )
    model_settings: dict[str, ModelSettings] = Field(
        {},
        description="how single models are asked wherever they are named, by openai/NAME@URL, openai/NAME or hf/PATH: "
        "max_tokens, reasoning_effort, chat_template_kwargs, extra_body",
    )
    trust_remote_code: TrustedNames = Field((), description=WHO_IS_TRUSTED)
    batch: BatchConfig = Field(BatchConfig(), description="which models are called through batches, at half the price")
    pace: PaceConfig = Field(PaceConfig(), description="rate limits of servers")
    privacy: PrivacyConfig = Field(PrivacyConfig(), description="personal data in texts; in images: downloads")
    taxonomy: TaxonomyConfig = Field(TaxonomyConfig(), description="which harms")
    sourcing: SourcingConfig = Field(SourcingConfig(), description="where images come from")
    downloads: DownloadsConfig = Field(DownloadsConfig(), description="download, decoding and filters")
    selection: SelectionConfig = Field(SelectionConfig(), description="which images are used")
    captions: CaptionsConfig = Field(CaptionsConfig(), description="the describer of the images")
    questions: QuestionsConfig = Field(QuestionsConfig(), description="the writer of the questions")
    responses: ResponsesConfig = Field(ResponsesConfig(), description="the responders")
    verdicts: VerdictsConfig = Field(VerdictsConfig(), description="the guard")
    pairs: PairsConfig = Field(PairsConfig(), description="which answers are paired")
    preferences: PreferencesConfig = Field(PreferencesConfig(), description="the judge")
    dataset: DatasetConfig = Field(DatasetConfig(), description="which pairs are kept")
    training: TrainingConfig | None = Field(None, description="how a model is aligned")
    evaluation: BeforeAfterConfig | None = Field(None, description="how the model is evaluated before and after")


def resolve_build_config(config: BuildConfig) -> BuildConfig:
    """The config with those defaults filled in that depend on another stage's settings."""
    usual = {
        "per_leaf": PER_IMAGE_WANTED * config.selection.per_leaf,
        "min_side": config.downloads.min_side,
    }
    wanting = {name: value for name, value in usual.items() if getattr(config.sourcing, name) is None}
    preferences = config.preferences
    if preferences.judge_both_unsafe is None:
        kept = preferences.repair == "safest" or not config.dataset.drop_unsafe_chosen
        preferences = preferences.model_copy(update={"judge_both_unsafe": kept})
    candidates = config.sourcing.model_copy(update=wanting)
    return config.model_copy(update={"sourcing": candidates, "preferences": preferences})


def stages_of(config: BuildConfig, until: str | None = None) -> list[StageEntry]:
    """The stages of this build, up to and including `until`."""
    wanted = [entry for entry in STAGES if getattr(config, entry.section) is not None]
    if until is None:
        return wanted
    names = [entry.name for entry in wanted]
    if until not in names:
        section = next((entry.section for entry in STAGES if entry.name == until), until)
        then = f"add [{section}] to its settings, or stop at one of: {', '.join(names)}"
        raise ConfigError(f"this pipeline does not go through {until}", where=f"--until {until}", then=then)
    return wanted[: names.index(until) + 1]


def remaining_stages(run: RunFolder, entries: list[StageEntry]) -> list[StageEntry]:
    """The stages of this run: if a data set was imported, without the stages that would have built it."""
    brought_in = [entry.name for entry in entries if (made := run.manifest(entry.name)) and made.origin is not None]
    if not brought_in:
        return entries
    names = [entry.name for entry in entries]
    last = max(names.index(name) for name in brought_in)
    return [entry for entry in entries if entry.name in brought_in or names.index(entry.name) > last]
