"""spavl compare: two models that sat the same benchmarks, item by item."""

import argparse
from pathlib import Path

from spavl.evaluation.compare import contrast, find_both
from spavl.evaluation.report import compare_lines
from spavl.store.files import folder_name
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    help_ = "a model by its name in the evaluation; without EVALUATION the folder of an evaluation of one model"
    parser.add_argument("one", metavar="A", help=help_)
    parser.add_argument("other", metavar="B", help="the model that is compared with it, likewise")
    parser.add_argument(
        "evaluations",
        nargs="*",
        type=Path,
        metavar="EVALUATION",
        help="the evaluation of both, or A's and B's: folders that spavl eval finished",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the page goes (default: comparisons/A-B in B's evaluation)"
    )


def run(options: argparse.Namespace) -> None:
    before, after = find_both(options.one, options.other, options.evaluations)
    named = folder_name(f"{before.model}-{after.model}")
    out = options.out or after.folder / "comparisons" / named
    results = contrast(before, after, out)
    tell(*compare_lines.lines(results))
    tell(f"page: {out / 'comparison.html'}  (all changes: comparison.json)")
