"""spavl compare: two models that were evaluated on the same benchmarks, item by item."""

import argparse
from pathlib import Path

from spavl.cli.options import add_out
from spavl.cli.parser import Command, CommandParser
from spavl.evaluation.compare import compare_models, find_both
from spavl.evaluation.report import compare_lines
from spavl.store.files import folder_name
from spavl.text.safe_print import tell


def _add_options(parser: CommandParser) -> None:
    help_ = "a model by its name in the evaluation; without EVALUATION the folder of an evaluation of one model"
    parser.add_argument("one", metavar="A", help=help_)
    parser.add_argument("other", metavar="B", help="the model that is compared with it, named likewise")
    parser.add_argument(
        "evaluations",
        nargs="*",
        # Without a default argparse calls it missing.
        default=[],
        type=Path,
        metavar="EVALUATION",
        help="the evaluation of both models, or A's and B's: folders that spavl eval finished",
    )
    add_out(parser, "FOLDER", "where the page goes (default: comparisons/A-B in B's evaluation)")


def _run(options: argparse.Namespace) -> None:
    before, after = find_both(options.one, options.other, options.evaluations)
    named = folder_name(f"{before.model}-{after.model}")
    out = options.out or after.folder / "comparisons" / named
    results = compare_models(before, after, out)
    tell(*compare_lines.lines(results))
    tell(f"page: {out / 'comparison.html'}  (all changes: comparison.json)")


COMMANDS = (
    Command(
        "compare",
        "compare two models evaluated on the same benchmarks, item by item",
        _add_options,
        _run,
        "A B [EVALUATION ...]",
    ),
)
