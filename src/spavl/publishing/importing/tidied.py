"""Cleans cells of imported tables so that records can hold them."""

import re
from typing import Any, get_args

# What is left of a list that Python wrote out: the published SPA-VL has it behind some texts, as letters or as a line.
_STRAY_END = re.compile(r"""(?:\\n|\n)(['"])\s*\Z""")


def without_stray_end(text: str) -> str:
    """A text without a quotation mark on a line of its own at its end, where it closes no quotation."""
    found = _STRAY_END.search(text)
    if found is None or re.search(rf"(?:\A|[\s(\[]){found[1]}", text[: found.start()]):
        return text
    return text[: found.start()].rstrip()


def known(value: Any, kind: Any) -> Any:
    """A value that is one of a kind's words; None if it is another."""
    return value if isinstance(value, str) and value in get_args(kind) else None
