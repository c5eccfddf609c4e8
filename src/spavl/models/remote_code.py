"""Which models may run Python code of their own, and which code that is.

A model on a hub or in a folder may come with Python files that its settings name. They could do anything, so they run
only for a model that is named in `trust_remote_code`. There is no word for all of them.
"""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

from spavl.config import texts_in
from spavl.errors import ConfigError
from spavl.models.names import pinned

OPTION = "--trust-remote-code"
# Where a model names its code, as AutoConfig, AutoModel and AutoProcessor read it.
_NAMING = ("config", "processor_config", "preprocessor_config", "video_preprocessor_config", "tokenizer_config")
_MODEL = re.compile(r"hf/[^\s*?]+")


def _apart(given: object) -> object:
    """As one types several: with commas between them."""
    return [name.strip() for name in given.split(",") if name.strip()] if isinstance(given, str) else given


def _each_a_model(names: tuple[str, ...]) -> tuple[str, ...]:
    if wrong := [name for name in names if not _MODEL.fullmatch(name)]:
        raise ValueError(f"{wrong[0]!r} names no single model; write each as hf/PATH or hf/OWNER/NAME@REVISION")
    return names


TrustedNames = Annotated[tuple[str, ...], BeforeValidator(_apart), AfterValidator(_each_a_model)]
WHO_IS_TRUSTED = (
    "models whose own Python code may run, each by its name, commas between them: hf/PATH, hf/OWNER/NAME@REVISION; "
    "without a revision, whatever its owner puts there later runs too"
)


def names_typed(text: str) -> tuple[str, ...]:
    """Those of a command line."""
    try:
        return TypeAdapter(TrustedNames).validate_python(text)
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"], where=OPTION, then=f"it is: {WHO_IS_TRUSTED}") from None


def is_trusted(path: str, trusted: Collection[str]) -> bool:
    """Whether a folder's or hub id's code may run. One named without a revision is trusted in any of its own."""
    place, _ = pinned(path)
    names = [name.removeprefix("hf/") for name in trusted]
    if Path(place).is_dir():
        return any(Path(name).is_dir() and Path(name).samefile(place) for name in names)
    return path in names or place in names


def own_code_refused(path: str) -> ConfigError:
    what = "this model comes with Python code of its own, which is not run unless you name the model"
    then = f"read its *.py files; if you trust them: {OPTION} hf/{path}, or give one whose class is in transformers"
    return ConfigError(what, where=path, then=then)


def refuse_code_of_others(path: str, trusted: Collection[str]) -> None:
    """A model's settings may name code that lies in another repository, whose owner is then trusted as well."""
    for repository in sorted(set(_repositories(path))):
        if not is_trusted(repository, trusted):
            what = f"this model runs Python code of another repository, {repository}"
            then = f"read the code there; if you trust it, name both: {OPTION} hf/{path},hf/{repository}"
            raise ConfigError(what, where=path, then=then)


def _repositories(path: str) -> Iterator[str]:
    from transformers.utils import cached_file

    place, revision = pinned(path)
    for name in _NAMING:
        found = cached_file(place, f"{name}.json", revision=revision, _raise_exceptions_for_missing_entries=False)
        if found is not None:
            for text in texts_in(json.loads(Path(found).read_text(encoding="utf-8")).get("auto_map", {})):
                if "--" in text:
                    yield text.partition("--")[0]


def opening(path: str, trusted: Collection[str] = ()) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` is given for a name: its place, its revision, and whether code of its own may run."""
    place, revision = pinned(path)
    runs_code = is_trusted(path, trusted)
    if runs_code:
        refuse_code_of_others(path, trusted)
    return place, {"trust_remote_code": runs_code, **({"revision": revision} if revision else {})}
