"""Preflight checks of a build: which stages remain, and whether everything they name exists.

Otherwise a typo in a judge's name would be found only after all earlier stages have been paid for.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from spavl.data.captions.run import open_prompts
from spavl.data.downloads.filters import require_packages
from spavl.data.pairs.strategies import check_strategies
from spavl.data.questions.run import open_question_writer
from spavl.data.responses.pool import read_pool
from spavl.data.responses.run import responders_of
from spavl.data.selection.run import check_held_out
from spavl.data.taxonomy.tree import categories, read_tree
from spavl.errors import ConfigError
from spavl.judges.guards.miniature_rules import RuleGuard, RuleJudge
from spavl.models.backends.dry_run import ValidatingFactory
from spavl.models.factory import ModelFactory
from spavl.models.model_settings import check_named_somewhere
from spavl.pipeline.registry import BuildConfig, StageEntry
from spavl.stages.context import StageContext
from spavl.stages.preflight import (
    NamedModel,
    Opener,
    check_servers,
    open_a_guard,
    open_a_judge,
    open_model,
    open_named,
    open_rewarder,
    open_trained,
    pending_stages,
)
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from spavl.training.config import check_ppo
from spavl.training.loop.distributed import check_packages, check_sharding, check_tracker, refuse_plugins

# The settings that name a model, guard or judge, and the function that opens each.
OPENERS: dict[str, Opener] = {
    "selection.relevance": open_model,
    "captions.writer": open_model,
    "questions.writer": open_model,
    "questions.checker": open_model,
    "verdicts.guard": open_a_guard,
    "preferences.judge": open_a_judge,
    "preferences.second_judge": open_a_judge,
    "training.model": open_trained,
    "training.validation.guard": open_a_guard,
    "training.ppo.reward": open_rewarder,
    "training.ppo.sampler": open_model,
    "evaluation.before": open_model,
    "evaluation.after": open_model,
    "evaluation.guard": open_a_guard,
    "evaluation.judge": open_a_judge,
}


def context_of(
    entry: StageEntry, config: BuildConfig, run: RunFolder, models: ModelFactory, screen: Screen
) -> StageContext[Any]:
    return StageContext(
        run, entry.settings(config), config.seed, models, screen, config.in_flight, config.limit, config.privacy
    )


def pending_entries(
    entries: Sequence[StageEntry], config: BuildConfig, run: RunFolder, models: ModelFactory
) -> list[StageEntry]:
    """The stages that are not finished."""
    screen = Screen(quiet=True)
    left = pending_stages((entry.spec, context_of(entry, config, run, models, screen)) for entry in entries)
    return [entry for entry in entries if entry.spec in left]


async def preflight(
    config: BuildConfig, run: RunFolder, left: Sequence[StageEntry], say: Callable[[str], None]
) -> None:
    """Open everything that these stages name, and check the servers of the first stage that calls one."""
    models = ValidatingFactory(run.ledger, config.model_settings, config.pace).trusting(config.trust_remote_code)
    try:
        check_named(config, run, left, models)
        asked = [entry.section for entry in left if entry.section in models.first_asked.values()]
        await check_servers(models, asked[:1], say)
    finally:
        await models.close()


def check_named(
    config: BuildConfig, run: RunFolder, left: Sequence[StageEntry], models: ModelFactory, complete: bool = True
) -> None:
    """Open every model, guard, judge and prompt of these stages; a dry run (`complete=False`) may lack some."""
    pool = read_pool(config.responses.pool).responder if config.responses.pool else ()
    check_named_somewhere(config.model_settings, config, *(responder.model for responder in pool))
    drawn = _are_drawn(config, run)
    if any(entry.spec.texts for entry in left):
        config.privacy.check()
    for section in dict.fromkeys(entry.section for entry in left):
        for named, opened in open_named(_models_of_section(section, config, complete), models):
            if isinstance(opened, RuleGuard | RuleJudge) and not drawn:
                what = "the rules of the miniature can only judge images of the miniature"
                then = "name a model in their place, such as openai/gpt-4o"
                raise ConfigError(what, where=named.where, then=then)
        if section == "taxonomy":
            check_held_out(config.selection.held_out_leaves, categories(read_tree(config.taxonomy.file)))
        if section == "downloads" and complete:  # a dry run filters nothing
            require_packages(config.downloads)
        if section == "captions":
            open_prompts(config.captions)
        if section == "questions":
            open_question_writer(config.questions, models, config.seed)
        if section == "pairs":
            check_strategies(config.pairs.strategy, len(responders_of(config.responses, complete=False)))
        if config.training is not None and section == "training":
            refuse_plugins()
            if config.training.algorithm == "ppo":
                check_ppo(config.training)
            if complete:  # a dry run also works on a machine that cannot train
                check_packages()
                check_sharding(config.training.loop.shard)
                check_tracker(config.training.loop.tracker)


def _are_drawn(config: BuildConfig, run: RunFolder) -> bool:
    """Whether the images come from the miniature, which records what they show."""
    made = run.manifest("selection")
    return config.sourcing.source == "miniature" and (made is None or made.origin is None)


def _models_of_section(section: str, config: BuildConfig, complete: bool) -> Iterator[NamedModel]:
    if section == "responses":
        setting = "responses.pool" if config.responses.pool else "responses.models"
        for responder in responders_of(config.responses, complete):
            yield NamedModel(setting, responder.model, section, open_model)
    for setting, opener in OPENERS.items():
        if setting.partition(".")[0] == section and (name := attrgetter(setting)(config)):
            yield NamedModel(setting, name, section, opener)
