"""Runs the gates and prints what is wrong, where, and what to type next."""

import argparse
from collections.abc import Callable
from pathlib import Path

from gates import docs, knobs, names, quiet, readme, sizes, words
from gates.fault import Fault, Stopped

GATES: dict[str, Callable[[Path], list[Fault]]] = {
    "sizes": sizes.check,
    "names": names.check,
    "knobs": knobs.check,
    "docs": docs.check,
    "readme": readme.check,
    "quiet": quiet.check,
    "words": words.check,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gates", description="check the project's own rules")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"gates to run (default: all): {', '.join(GATES)}")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository's folder (default: this one)")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in GATES]:
        parser.error(f"no gate {unknown[0]!r}; the gates are {', '.join(GATES)}")
    failed = [name for name in options.names or GATES if not _passes(name, options.root.resolve())]
    return 1 if failed else 0


def _passes(name: str, root: Path) -> bool:
    try:
        faults = GATES[name](root)
    except Stopped as stopped:
        faults = [stopped.fault]
    print(f"{name:<8}{_count(faults)}")
    for fault in faults:
        print(f"  {fault.where}  {fault.what}\n    next: {fault.then}")
    return not faults


def _count(faults: list[Fault]) -> str:
    return f"{len(faults)} fault{'s' * (len(faults) > 1)}" if faults else "ok"


if __name__ == "__main__":
    raise SystemExit(main())
