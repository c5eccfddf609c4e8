"""No dead knob: every field of a pydantic class is read; a config class is described and not too large.

A setting that nothing reads is worse than none: whoever sets it believes that it did
something. Published trainers have silently ignored a reference model in this way.
Classes not named `...Config` give the form of a file's content; they become no options,
so they need no descriptions. Children of `JsonRecord` are no settings: a run writes them for
whoever reads its files.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gates.fault import Fault
from gates.source import Module, modules

FIELDS = 20
RECORD = "JsonRecord"


class Knobs(NamedTuple):
    """A pydantic class: a BaseModel, or a child of one."""

    module: Module
    node: ast.ClassDef
    # The fields of its own body; `inherited` are those of its bases in src.
    fields: dict[str, ast.AnnAssign]
    inherited: int


class Read(NamedTuple):
    """A place that reads `.field`, or holds its name as a string."""

    path: str
    line: int
    field: str
    as_string: bool


def check(root: Path) -> list[Fault]:
    sources = list(modules(root))
    found = _knobs(sources)
    names = {knobs.node.name for knobs in found}
    reads = [read for module in sources for read in _reads(module)]
    return [fault for knobs in found for fault in _faults(knobs, reads, names)]


def _reads(module: Module) -> Iterator[Read]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield Read(module.path, node.lineno, node.attr, as_string=False)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield Read(module.path, node.lineno, node.value, as_string=True)


def _faults(knobs: Knobs, reads: list[Read], classes: set[str]) -> Iterator[Fault]:
    path, node = knobs.module.path, knobs.node
    options = node.name.endswith("Config")
    # A section is a class of its own already.
    count = sum(not _is_section(field, classes) for field in knobs.fields.values()) + knobs.inherited
    if options and count > FIELDS:
        what = f"{node.name} has {count} fields, at most {FIELDS} are allowed"
        yield Fault(f"{path}:{node.lineno}", what, "move what belongs together into a class of its own")
    body = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    outside = [read for read in reads if read.path != path or read.line not in body]
    for name, field in knobs.fields.items():
        where = f"{path}:{field.lineno}"
        # A section of settings may be picked by its name, as the pipeline does; a single setting may not.
        section = _is_section(field, classes)
        if not any(read.field == name and (section or not read.as_string) for read in outside):
            what = f"{node.name}.{name} is read nowhere outside its class"
            yield Fault(where, what, f"read `.{name}` where the work is done, or delete the field")
        if options and not _is_described(field):
            yield Fault(where, f"{node.name}.{name} has no description", 'write Field(..., description="what it does")')


def _is_section(field: ast.AnnAssign, classes: set[str]) -> bool:
    parts = ast.walk(field.annotation)
    names = {getattr(part, "attr", None) or getattr(part, "id", None) for part in parts}
    return bool(names & classes)


def _knobs(sources: list[Module]) -> list[Knobs]:
    """The classes of settings in src, found by their bases' names."""
    left = [(module, node) for module in sources for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    found: list[Knobs] = []
    # A child may stand in an earlier file than its parent, so look again until nothing new is found.
    while True:
        parents = {knobs.node.name: knobs for knobs in found}
        new = [each for each in left if {"BaseModel", *parents} & _bases(each[1]) and each[1].name != RECORD]
        if not new:
            return found
        left = [each for each in left if each not in new]
        for module, node in new:
            above = [parents[base] for base in _bases(node) if base in parents]
            inherited = sum(len(parent.fields) + parent.inherited for parent in above)
            found.append(Knobs(module, node, _fields(node), inherited))


def _bases(node: ast.ClassDef) -> set[str]:
    """The last parts of its bases' names: `pydantic.BaseModel` and `Base[int]` are BaseModel and Base."""
    return {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}


def _fields(node: ast.ClassDef) -> dict[str, ast.AnnAssign]:
    return {
        line.target.id: line
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and not line.target.id.startswith("_")
        and line.target.id != "model_config"
        and "ClassVar" not in ast.unparse(line.annotation)
    }


def _is_described(field: ast.AnnAssign) -> bool:
    """Whether `Field(description=...)` stands in its value or, with Annotated, in its type."""
    parts = [field.annotation, *filter(None, [field.value])]
    calls = [node for part in parts for node in ast.walk(part) if isinstance(node, ast.Call)]
    return any(keyword.arg == "description" for call in calls for keyword in call.keywords)
