"""A taxonomy in a TOML file: domains, groups, leaves."""

import shlex
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from spavl.config import Settings, table_of
from spavl.data.taxonomy.faults import as_faults, twins_in
from spavl.errors import ConfigError
from spavl.records import Category
from spavl.text.nearest import same_name

SHIPPED = ("spa-vl",)
_LONGEST_NAME = 80


def _fit_for_folders_and_prompts(name: str) -> str:
    if not name.strip():
        raise ValueError("a name cannot be empty")
    if name != name.strip():
        raise ValueError("a name cannot begin or end with a space")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"a name has at most {_LONGEST_NAME} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise ValueError("a name is one line, without control characters")
    return name


Name = Annotated[str, AfterValidator(_fit_for_folders_and_prompts)]


class Leaf(Settings):
    name: Name
    published: str = ""
    naming: Literal["confirmed", "strong", "weak"] = "confirmed"
    definition: str = ""
    terms: tuple[str, ...] = ()


class LeafGroup(Settings):
    name: Name
    published: str = ""
    leaves: tuple[Leaf, ...] = Field(min_length=1)


class Domain(Settings):
    name: Name
    published: str = ""
    group: tuple[LeafGroup, ...] = Field(min_length=1)


class Taxonomy(Settings):
    name: Name
    version: int = 1
    # Remarks for readers of the tree.
    note: str = ""
    domain: tuple[Domain, ...] = Field(min_length=1)


def read_tree(file: str) -> Taxonomy:
    """Read the shipped taxonomy of this name, or else the file at this path."""
    tree, faults = parse(read_table(file))
    if tree is None:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        check = f"spavl taxonomy check {shlex.quote(file)}"
        then = f"{check} lists every fault; spavl taxonomy new my.toml writes one to begin with"
        raise ConfigError(f"this is no taxonomy: {faults[0]}{more}", where=file, then=then)
    return tree


def read_table(file: str) -> dict[str, Any]:
    file = file if Path(file).exists() else same_name(file, SHIPPED) or file
    source = files("spavl.data.taxonomy").joinpath(f"{file}.toml") if file in SHIPPED else Path(file)
    return table_of(source, file, "taxonomy", SHIPPED)


def parse(table: dict[str, Any]) -> tuple[Taxonomy | None, list[str]]:
    """The tree and no errors; or None and every error, each with its place."""
    faults = twins_in(table)
    try:
        tree = Taxonomy.model_validate(table)
    except ValidationError as error:
        return None, [*as_faults(table, error), *faults]
    return (None, faults) if faults else (tree, [])


def categories(tree: Taxonomy) -> list[Category]:
    """The leaves in the order of the file."""
    paths = [(domain, group, leaf) for domain in tree.domain for group in domain.group for leaf in group.leaves]
    return [
        Category(
            position=position,
            leaf=leaf.name,
            group=group.name,
            domain=domain.name,
            published=tuple(part.published or part.name for part in (domain, group, leaf)),
            naming=leaf.naming,
            definition=leaf.definition,
            terms=leaf.terms,
        )
        for position, (domain, group, leaf) in enumerate(paths)
    ]
