"""Docs that state facts about the code are what the code says today.

A table kept by hand is wrong from the first change that forgets it.
"""

from itertools import zip_longest
from pathlib import Path

from gates.fault import Fault
from gates.write_docs import pages


def check(root: Path) -> list[Fault]:
    return [fault for path, text in pages(root).items() if (fault := _stale(root, path, text))]


def _stale(root: Path, path: str, fresh: str) -> Fault | None:
    file = root / path
    found = file.read_text() if file.exists() else ""
    if found == fresh:
        return None
    lines = zip_longest(found.splitlines(), fresh.splitlines())
    number, wanted = next((k, new) for k, (old, new) in enumerate(lines, 1) if old != new)
    shown = "nothing more" if wanted is None else repr(wanted)
    return Fault(f"{path}:{number}", f"not what the code says; here should be {shown}", "make docs")
