"""Converts the name of a model, as the user types it, to a URI.

openai/NAME@URL, miniature/base, ...   a URI stays as it is; `models/factory.py` lists them
FOLDER or OWNER/NAME                   hf/FOLDER or hf/OWNER/NAME
RUN                                    the checkpoint that a run has trained: RUN/checkpoints/aligned, else .../reward
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from spavl.config import WrongValue
from spavl.errors import ConfigError
from spavl.miniature.checkpoints import CHECKPOINTS
from spavl.miniature.personas import PERSONAS
from spavl.models.backends.fixed import SAID
from spavl.models.names import split_revision
from spavl.store.files import RUN_FILE
from spavl.text.nearest import nearest, suggestion

# The part of a URI before the first slash, and examples of each kind.
KINDS = {
    "openai": "openai/NAME, openai/NAME@URL",
    "hf": "hf/FOLDER, hf/OWNER/NAME",
    "miniature": "miniature/base, miniature/qwen",
    "fixed": "fixed/refuse, fixed/comply",
}
# Not a kind of model here; the factory's error message explains how to name a vLLM server.
_SERVED_APART = "vllm"
ALIGNED, REWARD = "aligned", "reward"
# Models that ship with spavl, by kind.
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType({"miniature": (*CHECKPOINTS, *PERSONAS), "fixed": tuple(SAID)})
_HOW = f"use {', '.join(KINDS.values())}; a folder, a run or a hub's OWNER/NAME need no hf/"


def model_uri(name: str) -> str:
    """The URI of a model. A name that is a URI stays unchanged, except hf/RUN: calls are in ledgers under that name."""
    kind, _, rest = name.partition("/")
    if kind in KINDS:
        _check_known(kind, rest)
    if not name or kind in (*KINDS, _SERVED_APART):
        return f"hf/{_weights_in(rest)}" if kind == "hf" else name
    if Path(name).is_dir():
        return f"hf/{_weights_in(name)}"
    if near := nearest(kind, KINDS):
        then = f"did you mean {near[0]}/{rest}? a model of the hub is hf/{name}"
        raise ConfigError(f"no such kind of model: {name!r}", where=name, then=then)
    if name.startswith((".", "/", "~")) or split_revision(name)[0].count("/") > 1:
        raise ConfigError(f"there is no such folder of a model: {name!r}", where=name, then=_HOW)
    if "/" not in name:
        raise ConfigError(f"no model is called {name!r}", where=name, then=_HOW)
    return f"hf/{name}"


def _check_known(kind: str, rest: str) -> None:
    """Refuse a kind without a model, and a model of the miniature, or a fixed one, that does not exist."""
    name = f"{kind}/{rest}"
    if not rest:
        raise ConfigError(f"no model is called {name!r}", where=name, then=_HOW)
    known = _NAMES.get(kind, (rest,))
    if rest not in known:
        what = "the miniature has no persona" if kind == "miniature" else "no fixed model is called"
        then = suggestion(rest, known, "known", f"{kind}/{{}}")
        raise ConfigError(f"{what} {rest!r}", where=name, then=then)


def checkpoint_of(run: str, *names: str) -> str | None:
    """The first of these checkpoints that a run folder has; None if `run` is not a run folder."""
    folder = Path(run)
    if not (folder / RUN_FILE).is_file() or (folder / "config.json").is_file():
        return None
    found = next((folder / "checkpoints" / name for name in names if (folder / "checkpoints" / name).is_dir()), None)
    if found is None:
        then = "train first: spavl train dpo, or spavl build with [training]; or name another model"
        raise ConfigError(f"this run has no checkpoint: {run!r}", where=run, then=then)
    return str(found)


def _weights_in(path: str) -> str:
    """The checkpoint of a run folder; any other path is returned unchanged."""
    return checkpoint_of(path, ALIGNED, REWARD) or path


def of_settings(resolve: Callable[[str], str]) -> AfterValidator:
    """A validator that replaces a name in a setting by its resolved form; errors name the setting."""

    def resolve_name(name: str, info: ValidationInfo) -> str:
        try:
            return resolve(name)
        except ConfigError as error:
            raise WrongValue(error, info.field_name or "", name) from None

    return AfterValidator(resolve_name)


ModelName = Annotated[str, of_settings(model_uri)]
