"""Files of the authors of a benchmark that a user has put beside its data. They are parsed, and never run."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.errors import ConfigError


def assigned_in(file: Path, then: str) -> Iterator[tuple[str, Any]]:
    """The names in a Python file to which a text or a list of texts is assigned, with what is."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"this is no Python file: {error}", where=str(file), then=then) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (value := _texts(node.value)) is not None:
            yield from ((target.id, value) for target in node.targets if isinstance(target, ast.Name))


def _texts(value: ast.expr) -> str | tuple[str, ...] | None:
    if isinstance(value, ast.List):
        parts = [_texts(part) for part in value.elts]
        return tuple(part for part in parts if isinstance(part, str)) if parts else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None
