"""All studies on the miniature's data set, three seeds each, and docs/studies-miniature.md from their tables.

    make studies                                  # builds the data sets, runs what is left, writes the page
    python -m benchmarks.studies --write-docs     # the page alone, from finished studies

The JSON line compares the seconds of all trainings with the seconds that the studies took.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spavl.report.formatting import points
from spavl.studies.named import study_names

FOLDER = Path("runs/studies")
POOL, SELF = FOLDER / "pool", FOLDER / "self"
PAGE = Path("docs/studies-miniature.md")
_SELF_GENERATED = ["--responses.models", "miniature/base", "--responses.samples", "6", "--pairs.strategy", "random"]
_COMMON = ["--guard", "rules/miniature", "--judge", "rules/miniature", "--max-tokens", "32"]
# So that all of it takes an hour on two cores; these two studies have sizes of their own.
_PAIRS, _OF_OWN_SIZE = "600", ("scale", "first-three")
# Where more than the first model or data set is needed. Arms of equal size have 67 and 26 pairs, on which one epoch
# changes nothing: with these epochs they see about as many as the arms of the other studies.
_OWN = {
    "backbones": ["--model", "miniature/base", "miniature/qwen"],
    "responses": ["--data", str(POOL), f"self={SELF}", "--epochs", "9"],
    "pool-size": ["--epochs", "23"],
}
_HEAD = """# Studies on the miniature

<!-- Written by `make studies` from the studies' own tables; nothing here is typed by hand. -->

The studies of [studies.md](studies.md), each with three seeds, on the data set of `spavl demo`, with at most 600 pairs
but for `scale` and `first-three`. **The numbers say nothing about any real model.** They show what the reports look
like, and where a synthetic world does and does not behave as the paper says: each of its findings is confirmed,
contradicted or left undecided below.
"""


def main() -> None:
    if "--write-docs" not in sys.argv:
        began = time.monotonic()
        _build(POOL)
        _build(SELF, *_SELF_GENERATED)
        for name in study_names():
            _study(name)
        _report(time.monotonic() - began)
    _write_page()


def _build(out: Path, *settings: str) -> None:
    _spavl("demo", "--until", "dataset", "--out", str(out), *settings)


def _study(name: str) -> None:
    own = _OWN.get(name, [])
    model = [] if "--model" in own else ["--model", "miniature/base"]
    data = [] if "--data" in own else ["--data", str(POOL)]
    size = [] if name in _OF_OWN_SIZE else ["--selection.pairs", _PAIRS]
    _spavl("study", name, "--out", str(FOLDER / name), *model, *data, *own, *size, *_COMMON)


def _spavl(*words: str) -> None:
    print(f"spavl {' '.join(words)}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "spavl", *words], check=True, stdout=sys.stderr)


def _results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name / "study.json").read_text(encoding="utf-8"))
    return found


def _report(seconds: float) -> None:
    studies = [_results(name) for name in study_names()]
    cells = [cell for study in studies for cell in study["cells"]]
    training = sum(cell["seconds"] for cell in cells)
    line = {
        "name": "studies",
        "ratio": round(training / seconds, 2),
        "peer": "all trainings one after the other",
        "minutes": round(seconds / 60, 1),
        "studies": len(studies),
        "cells": len(cells),
    }
    print(json.dumps(line))


def _findings() -> Iterator[str]:
    """What became of each finding of the paper, in one table."""
    found = [(name, each) for name in study_names() for each in _results(name)["findings"]]
    states = [each["state"] for _, each in found]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    yield f"Of the {len(found)} orders of two arms that the paper found and that are tested here: {counts}.\n"
    yield "| study | lower in the paper | higher in the paper | here, points | so |"
    yield "| --- | --- | --- | --- | --- |"
    for name, each in found:
        gap = points(each["difference"]["value"]) if each["difference"] else "–"
        yield f"| {name} | {each['lower']} | {each['higher']} | {gap} | **{each['state']}** |"
    yield ""


def _write_page() -> None:
    parts = [_HEAD, "\n".join(_findings())]
    for name in study_names():
        table = (FOLDER / name / "table.md").read_text(encoding="utf-8")
        parts.append(f"## {name}\n\n{table}")
    PAGE.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
