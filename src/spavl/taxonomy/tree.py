"""Reads a taxonomy from TOML: domains of groups of leaves."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from spavl.config import Settings
from spavl.errors import ConfigError
from spavl.records import Category

_LIKE = "compare with spavl/taxonomy/spa-vl.toml"


class Leaf(Settings):
    name: str
    published: str = ""
    naming: Literal["confirmed", "strong", "weak"] = "confirmed"


class Group(Settings):
    name: str
    published: str = ""
    leaves: tuple[Leaf, ...] = Field(min_length=1)


class Domain(Settings):
    name: str
    published: str = ""
    group: tuple[Group, ...] = Field(min_length=1)


class Tree(Settings):
    name: str
    version: int
    domain: tuple[Domain, ...] = Field(min_length=1)


def read_tree(file: str) -> Tree:
    """The taxonomy that ships under this name, or else the file at this path."""
    shipped = files("spavl.taxonomy").joinpath(f"{file}.toml")
    source = shipped if shipped.is_file() else Path(file)
    try:
        return Tree.model_validate(tomllib.loads(source.read_text()))
    except FileNotFoundError:
        then = "give the path of a TOML file, or spa-vl"
        raise ConfigError("there is no such taxonomy", where=file, then=then) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"not a TOML file: {error}", where=file, then=_LIKE) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{place}: {first['msg']}", where=file, then=_LIKE) from None


def categories(tree: Tree) -> list[Category]:
    """The leaves in the order of the file."""
    paths = [(domain, group, leaf) for domain in tree.domain for group in domain.group for leaf in group.leaves]
    names = [leaf.name for _, _, leaf in paths]
    if twice := {name for name in names if names.count(name) > 1}:
        then = "give every leaf a name of its own"
        raise ConfigError(f"leaves named twice: {', '.join(sorted(twice))}", where=tree.name, then=then)
    return [
        Category(
            position=position,
            leaf=leaf.name,
            group=group.name,
            domain=domain.name,
            published=tuple(part.published or part.name for part in (domain, group, leaf)),
            naming=leaf.naming,
        )
        for position, (domain, group, leaf) in enumerate(paths)
    ]
