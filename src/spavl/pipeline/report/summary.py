"""Builds the summary of a run from the notes of its stages, its ledger and its evaluation."""

from collections.abc import Sequence

from spavl.data.dataset.config import SPEC as DATASET
from spavl.data.dataset.notes import DatasetNotes
from spavl.data.preferences.config import SPEC as PREFERENCES
from spavl.data.selection.config import SPEC as SELECTION
from spavl.evaluation.before_after.results import BeforeAfterResults
from spavl.judges.canaries.checks import STAGE as CANARIES
from spavl.judges.guards.custom_prompt import own_in, without_folder
from spavl.models.names import without_addresses
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.report.run_summary import (
    DatasetTotals,
    EvalSetSizes,
    EvaluationSummary,
    ImageSettings,
    OrderedPairs,
    RunSummary,
    StageCalls,
    StageRow,
)
from spavl.publishing.build_notes import BuildNotes, OwnPrompts, RunModels
from spavl.publishing.privacy import privacy_rows
from spavl.store import Manifest, RunFolder
from spavl.training.objectives.notes import TrainingNotes


def summarize(
    run: RunFolder, stages: Sequence[Manifest], config: BuildConfig, tested: BeforeAfterResults | None
) -> RunSummary:
    notes, names = BuildNotes.of(stages), [manifest.stage for manifest in stages]
    evaluated = EvaluationSummary.model_validate(tested.as_json()) if tested else EvaluationSummary()
    totals = StageCalls.model_validate(run.ledger.totals())
    calls = {stage: StageCalls.model_validate(run.ledger.totals(stage)) for stage in (*names, CANARIES)}
    return RunSummary(
        **{name: getattr(evaluated, name) for name in evaluated.model_fields_set},
        canaries=notes.canaries.canaries,
        dataset=_totals_of(notes.dataset),
        stages={each.stage: StageRow(rows=each.rows, rejects=each.rejects, seconds=each.seconds) for each in stages},
        image_settings=_image_settings(config, names),
        privacy=privacy_rows(stages) or None,
        captions=notes.captions,
        questions=notes.questions,
        question_verdicts=notes.question_verdicts,
        reward_model_in_order=_ordered_pairs(notes.training),
        tiers=notes.pairs.tiers or None,
        judge_bias=notes.preferences.trust,
        agreement=notes.preferences.agreement,
        canaries_failed=notes.failed_canaries or None,
        degenerate=tested.degenerate if tested else None,
        calls=totals.calls,
        calls_made_again=totals.made_again,
        calls_by_stage={stage: own for stage, own in calls.items() if own.calls},
        usd=totals.usd,
        usd_lost_at_most=run.ledger.usd_lost(),
        seconds=round(sum(manifest.seconds for manifest in stages), 1),
        seed=config.seed,
        limit=config.limit,
        models=models_of(config, notes, names),
        own_prompts=_own_prompts(config, notes, tested),
        versions=run.versions(),
    )


def _totals_of(notes: DatasetNotes) -> DatasetTotals | None:
    """The totals; None for a data set that an older spavl imported, which has no counts."""
    if notes.counts is None or notes.files is None:
        return None
    counts, total = notes.counts, notes.counts.total
    return DatasetTotals(
        pairs=total.pairs,
        images=total.images,
        chosen_unsafe=total.chosen_unsafe,
        rejected_unsafe=total.rejected_unsafe,
        pairs_by_split={split: counted.pairs for split, counted in counts.splits.items()},
        test_questions=EvalSetSizes(harm=notes.files["test/harm"].rows, help=notes.files["test/help"].rows),
        contrast=counts.contrast,
        chosen_longer=counts.chosen_longer,
    )


def _image_settings(config: BuildConfig, stages: Sequence[str]) -> ImageSettings:
    if SELECTION.stage not in stages:
        return ImageSettings()
    return ImageSettings(downloads=config.downloads, selection=config.selection)


def _ordered_pairs(training: TrainingNotes) -> OrderedPairs | None:
    notes = training if training.algorithm == "reward" else training.reward_model
    if notes is None or (notes.taught_pairs_in_order is None and notes.held_out_pairs_in_order is None):
        return None
    return OrderedPairs(taught=notes.taught_pairs_in_order, held_out=notes.held_out_pairs_in_order)


def models_of(config: BuildConfig, notes: BuildNotes, stages: Sequence[str]) -> RunModels:
    """The names of the models, without the addresses of their servers, which are not published."""
    before = after = None
    if config.evaluation is not None:
        before, after = config.evaluation.before, config.evaluation.after or "the checkpoint of this run"
    if DATASET.stage in stages and PREFERENCES.stage not in stages:
        # For an imported data set, the other models are unknown.
        models = RunModels(before=before, after=after)
    else:
        asked = tuple(responder.model for responder in notes.responses.responders)
        models = RunModels(
            writer=config.questions.writer,
            responders=asked or config.responses.models,
            guard=without_folder(config.verdicts.guard),
            judge=without_folder(config.preferences.judge),
            before=before,
            after=after,
        )
    return RunModels.model_validate(without_addresses(models.as_json()))


def _own_prompts(config: BuildConfig, notes: BuildNotes, tested: BeforeAfterResults | None) -> OwnPrompts:
    evaluation = config.evaluation
    return OwnPrompts(
        guard=_own_prompt(config.verdicts.guard, notes.verdicts.guard),
        judge=_own_prompt(config.preferences.judge, notes.preferences.judge),
        second_judge=_own_prompt(config.preferences.second_judge, notes.preferences.second_judge),
        evaluation_guard=_own_prompt(evaluation.guard, tested.guard) if evaluation and tested else None,
        evaluation_judge=_own_prompt(evaluation.judge, tested.judge) if evaluation and tested else None,
    )


def _own_prompt(uri: str, name: str | None) -> str | None:
    """The part of a guard's or judge's name that names its prompt, if the prompt is the user's own."""
    return name.split("|")[1] if name and own_in(uri) else None
