"""Files, functions and argument lists stay small enough to be read at one sitting.

What grows past these sizes has nearly always become two things; the gate asks for the
split while it is still cheap.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gates.fault import Fault
from gates.source import Module, modules

FILE_LINES, FUNCTION_LINES, ARGUMENTS = 400, 60, 8

# What may be larger, and why: "src/spavl/x.py" or "src/spavl/x.py:Class.function".
EXCEPTIONS: dict[str, str] = {}


class Large(NamedTuple):
    """Something past its size. `name` is what an exception would be listed under."""

    name: str
    line: int
    what: str


def check(root: Path) -> list[Fault]:
    large = [(module, each) for module in modules(root) for each in _large_in(module)]
    faults = [
        Fault(f"{module.path}:{each.line}", each.what, "split it in two; exceptions are listed in gates/sizes.py")
        for module, each in large
        if each.name not in EXCEPTIONS
    ]
    needed = {each.name for _, each in large}
    for name in EXCEPTIONS.keys() - needed:
        faults.append(Fault("gates/sizes.py:1", f"the exception for {name} is not needed", "delete it from EXCEPTIONS"))
    return faults


def _large_in(module: Module) -> Iterator[Large]:
    lines = len(module.text.splitlines())
    if lines > FILE_LINES:
        yield Large(module.path, lines, f"the file has {lines} lines, at most {FILE_LINES} are allowed")
    for name, node in _functions(module.tree, ""):
        spelled = f"{module.path}:{name}"
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        length = (node.end_lineno or node.lineno) - first + 1
        if length > FUNCTION_LINES:
            what = f"{name} has {length} lines, at most {FUNCTION_LINES} are allowed"
            yield Large(spelled, node.lineno, what)
        arguments = _arguments(node)
        if len(arguments) > ARGUMENTS:
            what = f"{name} takes {len(arguments)} arguments, at most {ARGUMENTS} are allowed"
            yield Large(spelled, node.lineno, what)


def _functions(node: ast.AST, inside: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function with its dotted name, those inside classes and functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{inside}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, inside)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """What a caller passes: `self` and `cls` are not counted."""
    taken = node.args
    named = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, *filter(None, (taken.vararg, taken.kwarg))]
    return [argument.arg for argument in named if argument.arg not in ("self", "cls")]
