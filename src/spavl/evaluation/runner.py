"""Runs an evaluation: each of its stages that is not yet done, in order, then its results."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from spavl.config import write_config
from spavl.errors import ConfigError
from spavl.evaluation import answers, canaries, items, judgements, pairwise
from spavl.evaluation.answers import BASELINES
from spavl.evaluation.config import (
    ANSWERS,
    AS_PUBLISHED,
    CANARIES,
    ITEMS,
    JUDGEMENTS,
    OVERLAPS,
    PAIRWISE,
    AnswersConfig,
    AsPublishedConfig,
    CanariesConfig,
    EvaluationConfig,
    ItemsConfig,
    JudgementsConfig,
    PairwiseConfig,
    part,
    resolve_evaluation_config,
)
from spavl.evaluation.contamination import overlaps
from spavl.evaluation.contamination.training_data import check_training_data
from spavl.evaluation.metrics.drift_warnings import aliases_of
from spavl.evaluation.metrics.power import PowerItem, what_can_be_found
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.paraphrases import open_paraphrases
from spavl.evaluation.protocols import judging
from spavl.evaluation.protocols.registry import check_protocols, judges_asked
from spavl.evaluation.records import Item
from spavl.evaluation.report import terminal_lines
from spavl.evaluation.report.page import render_evaluation
from spavl.evaluation.report.samples import samples_of
from spavl.evaluation.results.build import results_of
from spavl.evaluation.results.file import read_results, write_results
from spavl.evaluation.results.types import EvaluationResults
from spavl.judges.gold_answers import read_gold_answers
from spavl.models.backends.dry_run import ValidatingFactory
from spavl.models.batch_api.queue import open_batch_queue
from spavl.models.factory import ModelFactory
from spavl.models.wrappers.stack import Budget
from spavl.stages.context import StageContext
from spavl.stages.finishing import current_manifest
from spavl.stages.monitor import progress_snapshot
from spavl.stages.preflight import (
    NamedModel,
    check_servers,
    open_a_guard,
    open_a_judge,
    open_model,
    open_named,
    pending_stages,
)
from spavl.stages.spec import StageSpec
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text
from spavl.terminal.progress import Screen
from spavl.text.layout import wrapped_lines


class EvaluationStage(NamedTuple):
    """A stage of an evaluation, with the part of the settings that it depends on."""

    spec: StageSpec[Any]
    settings: Any
    run: Callable[[StageContext[Any]], Awaitable[Manifest]]


def stages_of_evaluation(config: EvaluationConfig) -> list[EvaluationStage]:
    stages = [
        EvaluationStage(ITEMS, part(config, ItemsConfig), items.run),
        EvaluationStage(CANARIES, part(config, CanariesConfig), canaries.run),
        EvaluationStage(ANSWERS, part(config, AnswersConfig), answers.run),
        EvaluationStage(JUDGEMENTS, part(config, JudgementsConfig), judgements.run),
        EvaluationStage(PAIRWISE, part(config, PairwiseConfig), pairwise.run),
        EvaluationStage(AS_PUBLISHED, part(config, AsPublishedConfig), judging.run),
        EvaluationStage(OVERLAPS, config.contamination, overlaps.run),
    ]
    wanted = {
        CANARIES: bool(config.guard or config.judge),
        PAIRWISE: bool(config.judge),
        AS_PUBLISHED: bool(config.protocol),
        OVERLAPS: bool(config.contamination.train),
    }
    return [stage for stage in stages if wanted.get(stage.spec, True)]


async def run_evaluation(config: EvaluationConfig, out: Path, screen: Screen) -> EvaluationResults:
    """Run what is left of an evaluation and return its results."""
    config = resolve_evaluation_config(config)
    if (out / "tables" / "taxonomy.parquet").exists():
        then = "choose another folder with --out"
        raise ConfigError("this folder holds the run of a pipeline", where=str(out), then=then)
    with RunFolder(out, config.seed) as run:
        _check_replaced(config, out)
        run.write_config(write_config(config))
        budget = Budget(config.budget_usd, spent=run.ledger.totals()["usd"] + run.ledger.usd_lost())
        servers, own = config.servers, config.model_settings
        queue, batched = open_batch_queue(servers.batch, run, budget), servers.batch.models
        models = ModelFactory(
            run.ledger, budget, servers.pace, servers.prices, screen.say, queue, batched, own
        ).trusting(config.trust_remote_code)
        await _preflight(config, run, screen)
        first, *rest = stages_of_evaluation(config)
        await _run_stage(first, config, run, models, screen)
        asked = list(run.read(ITEMS.stage, Item))
        judgements.check_judged(asked, part(config, JudgementsConfig))
        found = what_can_be_found(
            PowerItem(item.benchmark, item.wants, item.cluster, bool(config.judge) and "pairwise" in item.scored_by)
            for item in asked
        )
        for line in chain.from_iterable(map(wrapped_lines, found)):
            screen.say(line)
        for alias in aliases_of(config):
            screen.say(f"warning: {alias}")
        try:
            look = progress_snapshot(models, budget, screen, {})
            with screen.table(f"spavl eval  {out}", [stage.spec.stage for stage in rest], look):
                canaries.ask_again(run, _pending(rest, config, run, models))
                for stage in rest:
                    await _run_stage(stage, config, run, models, screen)
                    await models.rest()
        finally:
            await models.close()
        results = results_of(run, config)
        write_results(out, results)
        write_text(out / "table.md", terminal_lines.markdown(results))
        write_text(out / "card.md", terminal_lines.card(results))
        write_text(out / "report.html", render_evaluation(results, samples_of(run, results)))
        return results


def _check_replaced(config: EvaluationConfig, out: Path) -> None:
    """Refuse to replace the results of other models: the folder is named where they are compared or cited."""
    try:
        earlier = read_results(out)
    except ConfigError:
        return  # no results, or damaged ones
    if others := earlier.models.keys() - models_by_name(config.models).keys() - BASELINES.keys():
        what = f"this folder holds the results of other models: {', '.join(sorted(others))}"
        then = "name them too, which costs no further call, or choose another folder with --out"
        raise ConfigError(what, where=str(out), then=then)


async def _preflight(config: EvaluationConfig, run: RunFolder, screen: Screen) -> None:
    """Check that all that the pending stages will call and read is available, before the benchmarks' files are read."""
    models = ValidatingFactory(run.ledger, config.model_settings, config.servers.pace).trusting(
        config.trust_remote_code
    )
    left = _pending(stages_of_evaluation(config), config, run, models)
    try:
        check_evaluation(config, left)
        for _ in open_named(_models_to_open(config, left), models):
            pass
        if "paraphrase" in config.conditions and ANSWERS in left:
            open_paraphrases(config.paraphrases, models)
        await check_servers(models, models.first_asked.values(), screen.say)
    finally:
        await models.close()


def _pending(
    stages: Iterable[EvaluationStage], config: EvaluationConfig, run: RunFolder, models: ModelFactory
) -> list[StageSpec[Any]]:
    screen = Screen(quiet=True)
    return pending_stages((stage.spec, _context(stage, config, run, models, screen)) for stage in stages)


def check_evaluation(config: EvaluationConfig, left: Collection[StageSpec[Any]]) -> None:
    """Check settings whose errors would otherwise be reported only after all models have been called."""
    if ITEMS in left:
        items.placed_benchmarks(part(config, ItemsConfig))
    tested = [*models_by_name(config.models), *answers.BASELINES, pairwise.REFERENCE]
    if config.base not in tested:
        then = f"name one of those that are tested: {', '.join(tested)}"
        raise ConfigError(f"{config.base} is not among the tested models", where="--base", then=then)
    if config.gold_guard and config.gold_guard not in config.guard:
        then = f"name one of --guard: {', '.join(config.guard) or 'none is given'}"
        raise ConfigError(f"{config.gold_guard} is not one of the guards", where="--gold-guard", then=then)
    check_protocols(part(config, AsPublishedConfig))
    if config.gold_answers and JUDGEMENTS in left:
        read_gold_answers(config.gold_answers)
    if OVERLAPS in left:
        check_training_data(config.contamination.train)


def _models_to_open(config: EvaluationConfig, left: Collection[StageSpec[Any]]) -> Iterator[NamedModel]:
    if ANSWERS in left:
        for name, uri in models_by_name(config.models).items():
            yield NamedModel("model" if name == uri else f"model {name}", uri, ANSWERS.stage, open_model)
    if JUDGEMENTS in left:
        for uri in config.guard:
            yield NamedModel("--guard", uri, CANARIES.stage, open_a_guard)
    if config.judge and (JUDGEMENTS in left or PAIRWISE in left):
        yield NamedModel("--judge", config.judge, CANARIES.stage, open_a_judge)
    if AS_PUBLISHED in left:
        for uri in judges_asked(part(config, AsPublishedConfig)):
            yield NamedModel("--protocol", uri, AS_PUBLISHED.stage, open_model)


async def _run_stage(
    stage: EvaluationStage, config: EvaluationConfig, run: RunFolder, models: ModelFactory, screen: Screen
) -> None:
    context = _context(stage, config, run, models, screen)
    done = current_manifest(context, stage.spec)
    manifest = done or await stage.run(context)
    when = "done before" if done else f"{manifest.seconds:.1f} s"
    screen.report_finished(stage.spec.stage, manifest.rows, sum(manifest.rejects.values()), when)


def _context(
    stage: EvaluationStage, config: EvaluationConfig, run: RunFolder, models: ModelFactory, screen: Screen
) -> StageContext[Any]:
    return StageContext(run, stage.settings, config.seed, models, screen, config.servers.in_flight)
