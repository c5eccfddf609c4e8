"""spavl taxonomy: show or check a taxonomy of harms, or write one to start from."""

import argparse
import shlex
from importlib.resources import files
from pathlib import Path

from rich.text import Text
from rich.tree import Tree as Branch

from spavl.cli.parser import Command, CommandParser
from spavl.cli.write_template import as_typed, write_new
from spavl.data.taxonomy.faults import warnings_of
from spavl.data.taxonomy.tree import Domain, Leaf, LeafGroup, parse, read_table, read_tree
from spavl.errors import ConfigError
from spavl.text.nearest import suggestion
from spavl.text.safe_console import SafeConsole
from spavl.text.safe_print import line, tell

_HOW_KNOWN = {"confirmed": "", "strong": " (name inferred)", "weak": " (name guessed)"}


def _add_show_options(parser: CommandParser) -> None:
    shipped = "a taxonomy of your own (default: spa-vl, the one that ships)"
    parser.add_argument("file", nargs="?", default="spa-vl", metavar="FILE.toml", help=shipped)
    parser.add_argument("--domain", default="", metavar="TEXT", help="only the domains whose names hold this text")
    parser.add_argument("--terms", action="store_true", help="each leaf's search terms too")


def _show(options: argparse.Namespace) -> None:
    tree = read_tree(options.file)
    wanted = [domain for domain in tree.domain if options.domain.casefold() in domain.name.casefold()]
    if not wanted:
        then = suggestion(options.domain, [domain.name for domain in tree.domain], "domains")
        raise ConfigError(f"no domain is named like {options.domain!r}", where=options.file, then=then)
    console = SafeConsole(highlight=False)
    console.print(Text(f"{tree.name}, version {tree.version}: {_counts(tree.domain)}", style="bold"))
    if tree.note:
        console.print(Text(line(tree.note), style="dim"))
    for domain in wanted:
        console.print(_branch(domain, options.terms))


def _add_check_options(parser: CommandParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the taxonomy; `spavl taxonomy new my.toml` writes one")


def _check(options: argparse.Namespace) -> None:
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
    tell(f"{options.file}: {_counts(tree.domain)}; no fault{with_warnings}")
    tell(f"next:  spavl build my.toml --taxonomy.file {shlex.quote(str(options.file))} --dry-run")


def _add_new_options(parser: CommandParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE.toml", help="the file to write; it must not exist yet")


def _new(options: argparse.Namespace) -> None:
    write_new(options.file, files("spavl.data.taxonomy").joinpath("begin.toml").read_text(encoding="utf-8"))
    tell(f"wrote {options.file}; after every change: spavl taxonomy check {as_typed(options.file)}")


def _counts(domains: tuple[Domain, ...]) -> str:
    groups = [group for domain in domains for group in domain.group]
    leaves = sum(len(group.leaves) for group in groups)
    return ", ".join((_many(len(domains), "domain"), _many(len(groups), "class", "classes"), _leaves(leaves)))


def _branch(domain: Domain, with_terms: bool) -> Branch:
    branch = Branch(_part_heading(domain, sum(len(group.leaves) for group in domain.group)))
    for group in domain.group:
        twig = branch.add(_part_heading(group, len(group.leaves)))
        for leaf in group.leaves:
            twig.add(_leaf_text(leaf, with_terms))
    return branch


def _part_heading(part: Domain | LeafGroup, leaves: int) -> Text:
    return Text.assemble((part.name, "bold"), (f"  {_leaves(leaves)}{_publication_note(part)}", "dim"))


def _leaf_text(leaf: Leaf, with_terms: bool) -> Text:
    known = (f"{_HOW_KNOWN[leaf.naming]}{_publication_note(leaf)}", "yellow")
    lines = [Text.assemble(leaf.name, known), Text(line(leaf.definition), style="dim")]
    lines += [Text(line(", ".join(leaf.terms)), style="cyan")] if with_terms else []
    return Text("\n").join(line for line in lines if line)


def _publication_note(part: Domain | LeafGroup | Leaf) -> str:
    return f" (published as {part.published!r})" if part.published else ""


def _leaves(number: int) -> str:
    return _many(number, "leaf", "leaves")


def _many(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or f'{one}s'}"


COMMANDS = (
    Command("taxonomy show", "print the harms of a taxonomy as a tree", _add_show_options, _show, "[FILE.toml]"),
    Command("taxonomy check", "list every fault of your own taxonomy", _add_check_options, _check, "FILE.toml"),
    Command("taxonomy new", "write a taxonomy to start from", _add_new_options, _new, "FILE.toml"),
)
