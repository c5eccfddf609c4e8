"""Cleans cells of imported tables so that records can hold them."""

import re
from typing import Any, get_args

# The end of a printed Python list: some texts of the published SPA-VL end with it, after a newline or a literal `\n`.
_STRAY_END = re.compile(r"""(?:\\n|\n)(['"])\s*\Z""")


def without_stray_end(text: str) -> str:
    """The text without a last line that is only a quotation mark, unless the mark closes a quotation."""
    found = _STRAY_END.search(text)
    if found is None or re.search(rf"(?:\A|[\s(\[]){found[1]}", text[: found.start()]):
        return text
    return text[: found.start()].rstrip()


def literal_or_none(value: Any, kind: Any) -> Any:
    """The value if it is one of the strings of the Literal type `kind`; else None."""
    return value if isinstance(value, str) and value in get_args(kind) else None
