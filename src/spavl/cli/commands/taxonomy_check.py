"""spavl taxonomy check: every fault of a taxonomy, each with its place, and what deserves a warning."""

import argparse
import shlex

from spavl.cli.commands.taxonomy_show import counts
from spavl.data.taxonomy.faults import warnings_of
from spavl.data.taxonomy.tree import parse, read_table
from spavl.errors import ConfigError
from spavl.text.safe_print import tell


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the taxonomy; `spavl taxonomy new my.toml` writes one")


def run(options: argparse.Namespace) -> None:
    table = read_table(options.file)
    tree, faults = parse(table)
    warnings = warnings_of(table)
    for kind, found in (("fault", faults), ("warning", warnings)):
        for each in found:
            tell(f"{kind:<9}{each}")
    if tree is None:
        many = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(many, where=options.file, then="correct what is listed above and check again")
    with_warnings = f", {len(warnings)} to think about" if warnings else ""
    tell(f"{options.file}: {counts(tree.domain)}; no fault{with_warnings}")
    tell(f"next:  spavl build my.toml --taxonomy.file {shlex.quote(str(options.file))} --dry-run")
