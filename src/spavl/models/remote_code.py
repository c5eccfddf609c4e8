"""Which models may run their own Python code.

A model on a hub or in a folder may have Python files that its config names. They can do anything, so they run only for
models that are named in `trust_remote_code`. There is no wildcard for all models.
"""

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, ValidationError

from spavl.config import texts_in
from spavl.errors import ConfigError
from spavl.models.names import split_revision
from spavl.text.setting_errors import in_own_words

OPTION = "--trust-remote-code"
# The config files in which AutoConfig, AutoModel and AutoProcessor look for a model's own code.
_NAMING = ("config", "processor_config", "preprocessor_config", "video_preprocessor_config", "tokenizer_config")
_MODEL = re.compile(r"hf/[^\s*?]+")


def _apart(given: object) -> object:
    """Split a string at commas."""
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
    """The names in the value of the command-line option."""
    try:
        return TypeAdapter(TrustedNames).validate_python(text)
    except ValidationError as error:
        raise ConfigError(in_own_words(error.errors()[0]), where=OPTION, then=f"it is: {WHO_IS_TRUSTED}") from None


def is_trusted(path: str, trusted: Collection[str]) -> bool:
    """Whether the code of a folder or hub id may run. A name without a revision trusts all revisions."""
    place, _ = split_revision(path)
    names = [name.removeprefix("hf/") for name in trusted]
    if Path(place).is_dir():
        return any(Path(name).is_dir() and Path(name).samefile(place) for name in names)
    return path in names or place in names


def own_code_refused(path: str) -> ConfigError:
    what = "this model comes with Python code of its own, which is not run unless you name the model"
    then = f"read its *.py files; if you trust them: {OPTION} hf/{path}, or give one whose class is in transformers"
    return ConfigError(what, where=path, then=then)


def refuse_code_of_others(path: str, trusted: Collection[str]) -> None:
    """Raise if a model's config names code in another repository that is not trusted itself."""
    for repository in sorted(set(_repositories(path))):
        if not is_trusted(repository, trusted):
            what = f"this model runs Python code of another repository, {repository}"
            then = f"read the code there; if you trust it, name both: {OPTION} hf/{path},hf/{repository}"
            raise ConfigError(what, where=path, then=then)


def _repositories(path: str) -> Iterator[str]:
    from transformers.utils import cached_file

    place, revision = split_revision(path)
    for name in _NAMING:
        found = cached_file(place, f"{name}.json", revision=revision, _raise_exceptions_for_missing_entries=False)
        if found is not None:
            for text in texts_in(json.loads(Path(found).read_text(encoding="utf-8")).get("auto_map", {})):
                if "--" in text:
                    yield text.partition("--")[0]


def opening(path: str, trusted: Collection[str] = ()) -> tuple[str, dict[str, Any]]:
    """The arguments of `from_pretrained` for a name: its path or id, its revision, and whether its own code may run."""
    place, revision = split_revision(path)
    runs_code = is_trusted(path, trusted)
    if runs_code:
        refuse_code_of_others(path, trusted)
    return place, {"trust_remote_code": runs_code, **({"revision": revision} if revision else {})}
