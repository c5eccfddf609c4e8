"""Docs that state facts about the code agree with it, and the files, tables and links that they name exist.

A table kept by hand is wrong from the first change that forgets it.
"""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from gates.fault import Fault
from gates.source import imported
from gates.write_docs import pages

_LINK = re.compile(r"\]\(([^()\s]+)\)")
# A module in backticks, without placeholders (NAME.py). One before a colon at the end of a line is not there yet: its
# text follows, as an example.
_MODULE = re.compile(r"`([a-z0-9_/]+\.py)`(?!:$)")
_TABLE = re.compile(r"\btables/([a-z_]+)(?:\.[a-z]+)?\.parquet")
# Folders whose modules docs may name from any folder on: `judges/chat.py` is src/spavl/judges/chat.py.
_OF_MODULES = ("src", "tests", "gates", "benchmarks", "reality")


def check(root: Path) -> list[Fault]:
    stale = [fault for path, text in pages(root).items() if (fault := _stale(root, path, text))]
    return [*stale, *_dead_links(root), *_missing(root)]


def _pages(root: Path) -> list[Path]:
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]


def _missing(root: Path) -> Iterator[Fault]:
    """Modules and tables that pages name and that do not exist."""
    modules = [f"/{file.relative_to(root).as_posix()}" for top in _OF_MODULES for file in (root / top).rglob("*.py")]
    tables = _tables(root)
    sources = [file for kind in ("html", "py") for file in sorted((root / "src").rglob(f"*.{kind}"))]
    for page in [*(page for page in _pages(root) if page.name != "CHANGELOG.md"), *sources]:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            where = f"{page.relative_to(root).as_posix()}:{number}"
            for name in _MODULE.findall(line):
                if not any(module.endswith(f"/{name}") for module in modules):
                    yield Fault(where, f"a module that is not there: {name}", "correct its name")
            for name in _TABLE.findall(line):
                if name not in tables:
                    yield Fault(where, f"a table that no stage writes: {name}", f"name one of {', '.join(tables)}")


def _tables(root: Path) -> list[str]:
    """The stages of a build and of an evaluation; each writes the table of its name."""
    build = imported(root, "spavl.pipeline.registry").STAGES
    evaluation = vars(imported(root, "spavl.evaluation.config")).values()
    spec = imported(root, "spavl.stages.spec").StageSpec
    named = [stage.name for stage in build] + [each.stage for each in evaluation if isinstance(each, spec)]
    return list(dict.fromkeys(named))


def _dead_links(root: Path) -> Iterator[Fault]:
    """Links to files and headings of the repository that are not there."""
    for page in _pages(root):
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
