"""Writes a template file; an existing file is never overwritten."""

import shlex
from pathlib import Path

from spavl.errors import ConfigError


def as_typed(file: Path) -> str:
    """A file as a command takes it: a name that begins with a dash would be read as an option."""
    return shlex.quote(f"./{file}" if str(file).startswith("-") else str(file))


def write_new(file: Path, text: str) -> None:
    try:
        with file.open("x") as new:
            new.write(text)
    except FileExistsError:
        raise ConfigError("this file exists already", where=str(file), then="choose another name") from None
    except OSError as error:
        then = "choose a place that is there and that you may write to"
        raise ConfigError(f"cannot write this file: {error.strerror}", where=str(file), then=then) from None
