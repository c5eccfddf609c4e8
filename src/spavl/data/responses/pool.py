"""Reads a responder pool from a TOML file, and reports which addresses and keys are missing to run it.

The shipped pools name models without addresses, because only the user knows where a model is served.
"""

import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from spavl.config import Settings, table_of, with_underscores
from spavl.errors import ConfigError
from spavl.models.backends.openai import OPENAI, key_variable
from spavl.models.model_settings import ModelSettings
from spavl.models.names import lacks_address, parse_served_name
from spavl.models.uri import ModelName
from spavl.text.nearest import same_name, suggestion
from spavl.text.setting_errors import in_own_words

SHIPPED = ("modern-12", "spa-vl-2024")


class Responder(ModelSettings):
    """A model with its own settings. Settings left out here come from `model_settings` and from the stage."""

    name: str = Field(min_length=1)
    # A model name as everywhere in spavl; a name that ends in @ needs an address.
    model: ModelName = Field(min_length=1)
    system: str = ""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    # How it can be run, and what that needs.
    runs: Literal["served", "own server", "gone"] = "served"
    needs: str = ""
    needs_key: bool = False
    note: str = ""


class ResponderPool(Settings):
    name: str
    version: int = 1
    responder: tuple[Responder, ...] = Field(min_length=1)


def read_pool(file: str) -> ResponderPool:
    """Read the shipped pool of this name, or else the file at this path."""
    file = file if Path(file).exists() else same_name(file, SHIPPED) or file
    source = files("spavl.data.responses").joinpath(f"pools/{file}.toml") if file in SHIPPED else Path(file)
    table = with_underscores(table_of(source, file, "pool", SHIPPED), ResponderPool, file)
    try:
        pool = ResponderPool.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        then = "spavl pool new my.toml writes one to begin with"
        raise ConfigError(f"this is no pool: {place}: {in_own_words(first)}", where=file, then=then) from None
    names = [responder.name for responder in pool.responder]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two responders are named {twice!r}", where=file, then="give each a name of its own")
    return pool


def members(pool: ResponderPool, addresses: Mapping[str, str], without: Sequence[str]) -> list[Responder]:
    """The pool's responders with their addresses, except those in `without`."""
    names = {responder.name for responder in pool.responder}
    for setting, given in (("addresses", addresses), ("without", without)):
        if unknown := [name for name in given if name not in names]:
            then = suggestion(unknown[0], sorted(names), "its responders")
            raise ConfigError(f"the pool {pool.name} has no {unknown[0]!r}", where=f"responses.{setting}", then=then)
    return [
        responder.model_copy(update={"model": responder.model.partition("@")[0] + "@" + addresses[responder.name]})
        if responder.name in addresses
        else responder
        for responder in pool.responder
        if responder.name not in without
    ]


def lacks(responder: Responder) -> str:
    """What is still missing to call the responder, an address or a key; empty if nothing is."""
    if lacks_address(responder.model):
        return "an address"
    urls = parse_served_name(responder.model.removeprefix("openai/")).urls or (OPENAI,)
    variables = [key_variable(url) for url in urls]
    lacking = [variable for variable in variables if responder.needs_key and not os.environ.get(variable)]
    return f"a key in the variable {lacking[0]}" if lacking else ""


def check_complete(pool: ResponderPool, responders: Sequence[Responder]) -> None:
    """Raise one ConfigError that lists everything the pool lacks, as lines to fill in."""
    lacking = [responder for responder in responders if lacks(responder)]
    if not lacking:
        return
    without_address = [responder for responder in lacking if lacks_address(responder.model)]
    lines = [f"put {lacks(responder)}" for responder in lacking if responder not in without_address]
    if without_address:
        lines += ["start them, and write where they are:", "", "[responses.addresses]"]
        width = max(len(responder.name) for responder in without_address) + 2
        for responder in without_address:
            quoted = f'"{responder.name}"'.ljust(width)
            lines.append(f'{quoted} = "http://HOST:PORT/v1"  # {_needs_in_words(responder)}')
        lines.append("")
    names = ", ".join(f'"{responder.name}"' for responder in lacking)
    lines.append(f"or leave them out: responses.without = [{names}]")
    what = f"{len(lacking)} of the {len(responders)} responders of the pool {pool.name} cannot be asked yet"
    raise ConfigError(what, where="responses.pool", then="\n         ".join(lines))


def _needs_in_words(responder: Responder) -> str:
    return f"gone: {responder.needs}" if responder.runs == "gone" else responder.needs
