"""What is looked at before the first stage: which stages are left, and whether all that they name is there.

A slip in the name of a judge would else be told when everybody before it has been paid. Nobody is
asked here and no weights are read.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from spavl.descriptions.run import open_prompts
from spavl.errors import ConfigError, SpavlError
from spavl.judges.rules import RuleGuard, RuleJudge
from spavl.judges.shop import model_of, open_guard, open_judge
from spavl.models.model_settings import check_named_somewhere
from spavl.models.shop import ModelShop, checkpoint_path
from spavl.progress import Screen
from spavl.questions.run import open_scribe
from spavl.responses.pool import read_pool
from spavl.responses.run import responders_of
from spavl.road import RoadConfig, StageEntry
from spavl.stage import Job, finished
from spavl.store import RunFolder
from spavl.training.processes import refuse_plugins

Opener = Callable[[str, ModelShop, str], object]


def job_of(entry: StageEntry, config: RoadConfig, run: RunFolder, models: ModelShop, screen: Screen) -> Job[Any]:
    settings = getattr(config, entry.section)
    return Job(run, settings, config.seed, models, screen, config.in_flight, config.limit)


def unfinished(
    entries: Sequence[StageEntry], config: RoadConfig, run: RunFolder, models: ModelShop
) -> list[StageEntry]:
    """The stages that are still to do. What was made from rows that are to be made anew is no longer finished."""
    stale, left = set[str](), list[StageEntry]()
    for entry in entries:
        job = job_of(entry, config, run, models, Screen(quiet=True))
        if stale & set(entry.reads) or finished(job, entry.plan) is None:
            stale.add(entry.name)
            left.append(entry)
    return left


def check_named(config: RoadConfig, run: RunFolder, left: Sequence[StageEntry], models: ModelShop) -> None:
    """Open every model, guard, judge and prompt of these stages, as they will."""
    pool = read_pool(config.responses.pool).responder if config.responses.pool else ()
    check_named_somewhere(config.model_settings, config, *(responder.model for responder in pool))
    drawn = _are_drawn(config, run)
    for section in dict.fromkeys(entry.section for entry in left):
        for setting, name, opener in _named(section, config):
            where = f"{setting} = {name!r}"
            try:
                opened = opener(name, models, section)
            except SpavlError as error:
                raise type(error)(error.what, where=where, then=error.then) from None
            if isinstance(opened, RuleGuard | RuleJudge) and not drawn:
                what = "the rules of the miniature can only judge pictures of the miniature"
                raise ConfigError(what, where=where, then="name a model in their place, such as openai/gpt-4o")
        if section == "descriptions":
            open_prompts(config.descriptions)
        if section == "questions":
            open_scribe(config.questions, models, config.seed)
        if section == "training":
            refuse_plugins()


def _are_drawn(config: RoadConfig, run: RunFolder) -> bool:
    """Whether the pictures are the miniature's own, which say what they show."""
    made = run.manifest("images")
    return config.candidates.source == "miniature" and (made is None or made.origin is None)


def _named(section: str, config: RoadConfig) -> Iterator[tuple[str, str, Opener]]:
    if section == "responses":
        setting = "responses.pool" if config.responses.pool else "responses.models"
        for responder in responders_of(config.responses):
            yield setting, responder.model, _open
    for setting, opener in _OPENERS.items():
        if setting.partition(".")[0] == section and (name := attrgetter(setting)(config)):
            yield setting, name, opener


def _open(name: str, models: ModelShop, stage: str) -> object:
    _check_folder(name)
    return models.open(name, stage)


def _open_trained(name: str, models: ModelShop, stage: str) -> object:
    checkpoint_path(name)
    return _open(name, models, stage)


def _open_guard(name: str, models: ModelShop, stage: str) -> object:
    _check_folder(model_of(name))
    return open_guard(name, models, stage)


def _open_judge(name: str, models: ModelShop, stage: str) -> object:
    _check_folder(name)
    return open_judge(name, models, stage)


def _check_folder(name: str) -> None:
    """A hub id has one slash at most; whatever has more is a path."""
    kind, _, rest = name.partition("/")
    if kind == "hf" and rest.count("/") > 1 and not Path(rest).is_dir():
        raise ConfigError("there is no such folder", then="give the folder of a model, or a hub id such as OWNER/NAME")


def _open_rewarder(name: str, models: ModelShop, stage: str) -> object:
    kind, _, rest = name.partition("/")
    if kind == "judge":
        return _open_judge(rest, models, stage)
    if kind != "reward":
        return _open_guard(name, models, stage)
    if not Path(rest).is_dir():
        raise ConfigError("there is no such folder", then="give the folder of a reward model that was trained before")
    return None


# Whoever a setting names, and how such a one is opened.
_OPENERS: dict[str, Opener] = {
    "images.relevance": _open,
    "descriptions.writer": _open,
    "questions.writer": _open,
    "questions.checker": _open,
    "verdicts.guard": _open_guard,
    "preferences.judge": _open_judge,
    "preferences.second_judge": _open_judge,
    "training.model": _open_trained,
    "training.watch.guard": _open_guard,
    "training.ppo.reward": _open_rewarder,
    "training.ppo.sampler": _open,
    "evaluation.before": _open,
    "evaluation.after": _open,
    "evaluation.guard": _open_guard,
    "evaluation.judge": _open_judge,
}
