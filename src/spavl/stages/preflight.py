"""The preflight checks of every command: all models and servers that the settings name exist, before anything is paid.

No question is asked and no weights are read. Each server is asked once for the list of its models, which shows whether
it answers and accepts the key.
"""

import asyncio
import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import ConfigError, SpavlError
from spavl.judges.registry import model_of, open_guard, open_judge
from spavl.models.backends.dry_run import ValidatingFactory
from spavl.models.backends.openai import OpenAIModel
from spavl.models.factory import ModelFactory, checkpoint_path
from spavl.models.names import split_revision
from spavl.models.types import Transient
from spavl.stages.context import StageContext
from spavl.stages.finishing import current_manifest
from spavl.stages.spec import StageSpec

Opener = Callable[[str, ModelFactory, str], object]


class NamedModel(NamedTuple):
    """A model, guard or judge that a setting names, the stage that asks it, and how that stage opens it."""

    setting: str
    name: str
    stage: str
    opener: Opener

    @property
    def where(self) -> str:
        return f"{self.setting} = {self.name!r}"


def pending_stages(stages: Iterable[tuple[StageSpec[Any], StageContext[Any]]]) -> list[StageSpec[Any]]:
    """The stages that are not finished. A stage that reads rows of a pending stage is pending too."""
    pending: dict[str, StageSpec[Any]] = {}
    for spec, context in stages:
        if pending.keys() & set(spec.reads) or current_manifest(context, spec) is None:
            pending[spec.stage] = spec
    return list(pending.values())


def open_named(named: Iterable[NamedModel], models: ModelFactory) -> Iterator[tuple[NamedModel, object]]:
    """Open each as its stage will. An error names the setting."""
    for each in named:
        try:
            yield each, each.opener(each.name, models, each.stage)
        except SpavlError as error:
            raise type(error)(error.what, where=each.where, then=error.then) from None


async def check_servers(models: ValidatingFactory, needed_now: Collection[str], say: Callable[[str], None]) -> None:
    """Ask every server that was opened for the list of its models.

    Servers that the stages `needed_now` ask must answer. Other servers may be started later, as on a machine with
    room for one model at a time: if one does not answer yet, a warning is printed. If a model has several addresses,
    one is enough.
    """
    servers = [(backend, stage) for backend, stage in models.first_asked.items() if isinstance(backend, OpenAIModel)]
    found = await asyncio.gather(*(_served_by(server) for server, _ in servers))
    there = {
        server.name for (server, _), served in zip(servers, found, strict=True) if not isinstance(served, Transient)
    }
    for (server, stage), served in zip(servers, found, strict=True):
        if isinstance(served, Transient):
            if stage in needed_now and server.name not in there:
                raise server.no_answer(served)
            say(f"warning: no server answers at {server.url} yet; {stage} asks {server.model} there")
        elif served and server.model not in served:
            like = ", ".join(difflib.get_close_matches(server.model, served, n=3, cutoff=0.0))
            say(f"warning: {server.url} does not list {server.model}, which {stage} asks; it lists {like}")


async def _served_by(server: OpenAIModel) -> Collection[str] | Transient:
    try:
        return await server.list_models()
    except Transient as error:
        return error


def open_model(name: str, models: ModelFactory, stage: str) -> object:
    _check_folder(name)
    return models.open(name, stage)


def open_trained(name: str, models: ModelFactory, stage: str) -> object:
    checkpoint_path(name)
    return open_model(name, models, stage)


def open_a_guard(name: str, models: ModelFactory, stage: str) -> object:
    _check_folder(model_of(name))
    return open_guard(name, models, stage)


def open_a_judge(name: str, models: ModelFactory, stage: str) -> object:
    _check_folder(model_of(name))
    return open_judge(name, models, stage)


def open_rewarder(name: str, models: ModelFactory, stage: str) -> object:
    kind, _, rest = name.partition("/")
    if kind == "judge":
        return open_a_judge(rest, models, stage)
    if kind != "reward":
        return open_a_guard(name, models, stage)
    if not Path(rest).is_dir():
        raise ConfigError("there is no such folder", then="give the folder of a reward model that was trained before")
    return None


def _check_folder(name: str) -> None:
    """Raise if a model's folder does not exist. A hub id has one slash at most; a name with more is a path."""
    kind, _, rest = name.partition("/")
    if kind == "hf" and split_revision(rest)[0].count("/") > 1 and not Path(rest).is_dir():
        raise ConfigError("there is no such folder", then="give the folder of a model, or a hub id such as OWNER/NAME")
