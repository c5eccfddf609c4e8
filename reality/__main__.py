"""The whole of spavl on a real model and real photographs, every step a command as users type it.

    make reality              # about 35 minutes on two cores
    python -m reality --quick # a small part of each step
    python -m reality --write-docs .reality/default   # docs/reality.md from a finished run

A stopped run goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reality import page, steps
from reality.commands import Commands
from reality.steps import SIZES, Reality

STEPS: dict[str, Callable[[Reality], Any]] = {
    "data": steps.data,
    "model": steps.model,
    "sft": steps.sft,
    "dpo": steps.dpo,
    "evaluation": steps.evaluation,
    "equality": steps.equality,
    "writer": steps.writer,
    "build": steps.build,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small part of each step, without a server")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the trainings (default: 1)")
    parser.add_argument("--out", type=Path, help="the folder (default: .reality/default or .reality/quick)")
    parser.add_argument("--write-docs", type=Path, metavar="FOLDER", help="write docs/reality.md from a finished run")
    asked = parser.parse_args()
    if asked.write_docs:
        page.write(json.loads((asked.write_docs / "findings.json").read_text()))
        return
    size = "quick" if asked.quick else "default"
    folder = (asked.out or Path(".reality") / size).absolute()
    reality = Reality(Commands(folder), SIZES[size], asked.seed)
    file = folder / "findings.json"
    findings = json.loads(file.read_text()) if file.is_file() else {"size": size, "seed": asked.seed}
    for name, step in STEPS.items():
        if name not in findings:
            began = time.monotonic()
            findings[name] = step(reality)
            findings["seconds"] = findings.get("seconds", {}) | {name: round(time.monotonic() - began)}
            file.write_text(json.dumps(findings, indent=2, ensure_ascii=False))
    print("", *page.lines(findings), "", f"all findings: {file}", sep="\n")


if __name__ == "__main__":
    main()
