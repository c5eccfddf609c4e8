"""Docs that state facts about the code agree with it, and their links lead somewhere.

A table kept by hand is wrong from the first change that forgets it.
"""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from gates.fault import Fault
from gates.write_docs import pages

_LINK = re.compile(r"\]\(([^()\s]+)\)")


def check(root: Path) -> list[Fault]:
    stale = [fault for path, text in pages(root).items() if (fault := _stale(root, path, text))]
    return [*stale, *_dead_links(root)]


def _dead_links(root: Path) -> Iterator[Fault]:
    """Links to files and headings of the repository that are not there."""
    for page in [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            for target, _, anchor in (link.partition("#") for link in _LINK.findall(line)):
                file = page.parent / target if target else page
                missing = not file.exists() or (anchor and f"#{anchor}" not in _anchors(file))
                if missing and not target.startswith(("http:", "https:")):
                    where = f"{page.relative_to(root).as_posix()}:{number}"
                    what = f"a link to what is not there: {target}{'#' * bool(anchor)}{anchor}"
                    yield Fault(where, what, "correct the link")


def _anchors(page: Path) -> set[str]:
    """The anchors that hosts give the headings of a page."""
    headings = (line.lstrip("# ").lower() for line in page.read_text().splitlines() if line.startswith("#"))
    return {"#" + re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def _stale(root: Path, path: str, fresh: str) -> Fault | None:
    file = root / path
    found = file.read_text() if file.exists() else ""
    if found == fresh:
        return None
    lines = zip_longest(found.splitlines(), fresh.splitlines())
    number, wanted = next((k, new) for k, (old, new) in enumerate(lines, 1) if old != new)
    shown = "nothing more" if wanted is None else repr(wanted)
    return Fault(f"{path}:{number}", f"differs from the code; here should be {shown}", "make docs")
