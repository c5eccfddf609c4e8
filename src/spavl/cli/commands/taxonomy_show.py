"""spavl taxonomy show: a taxonomy as a tree."""

import argparse

from rich.text import Text
from rich.tree import Tree as Branch

from spavl.data.taxonomy.tree import Domain, Leaf, LeafGroup, read_tree
from spavl.errors import ConfigError
from spavl.text.safe_console import SafeConsole
from spavl.text.safe_print import line

_HOW_KNOWN = {"confirmed": "", "strong": " (name inferred)", "weak": " (name guessed)"}


def add_options(parser: argparse.ArgumentParser) -> None:
    shipped = "a taxonomy of your own (default: spa-vl, the one that ships)"
    parser.add_argument("file", nargs="?", default="spa-vl", metavar="FILE.toml", help=shipped)
    parser.add_argument("--domain", default="", metavar="TEXT", help="only the domains whose names hold this text")
    parser.add_argument("--terms", action="store_true", help="each leaf's search terms too")


def run(options: argparse.Namespace) -> None:
    tree = read_tree(options.file)
    wanted = [domain for domain in tree.domain if options.domain.casefold() in domain.name.casefold()]
    if not wanted:
        then = f"use a part of one of: {', '.join(domain.name for domain in tree.domain)}"
        raise ConfigError(f"no domain is named like {options.domain!r}", where=options.file, then=then)
    console = SafeConsole(highlight=False)
    console.print(Text(f"{tree.name}, version {tree.version}: {counts(tree.domain)}", style="bold"))
    if tree.note:
        console.print(Text(line(tree.note), style="dim"))
    for domain in wanted:
        console.print(_branch(domain, options.terms))


def counts(domains: tuple[Domain, ...]) -> str:
    groups = [group for domain in domains for group in domain.group]
    leaves = sum(len(group.leaves) for group in groups)
    return ", ".join((_many(len(domains), "domain"), _many(len(groups), "class", "classes"), _leaves(leaves)))


def _branch(domain: Domain, with_terms: bool) -> Branch:
    branch = Branch(_headed(domain, sum(len(group.leaves) for group in domain.group)))
    for group in domain.group:
        twig = branch.add(_headed(group, len(group.leaves)))
        for leaf in group.leaves:
            twig.add(_told(leaf, with_terms))
    return branch


def _headed(part: Domain | LeafGroup, leaves: int) -> Text:
    return Text.assemble((part.name, "bold"), (f"  {_leaves(leaves)}{_published(part)}", "dim"))


def _told(leaf: Leaf, with_terms: bool) -> Text:
    known = (f"{_HOW_KNOWN[leaf.naming]}{_published(leaf)}", "yellow")
    lines = [Text.assemble(leaf.name, known), Text(line(leaf.definition), style="dim")]
    lines += [Text(line(", ".join(leaf.terms)), style="cyan")] if with_terms else []
    return Text("\n").join(line for line in lines if line)


def _published(part: Domain | LeafGroup | Leaf) -> str:
    return f" (published as {part.published!r})" if part.published else ""


def _leaves(number: int) -> str:
    return _many(number, "leaf", "leaves")


def _many(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or f'{one}s'}"
