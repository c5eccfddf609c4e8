"""Writes the docs that state facts about the code: the commands, their help, the stages, the folders, the benchmarks.

`python -m gates.write_docs` (or `make docs`) writes them; the gate `docs` checks that they are fresh.
"""

import argparse
import ast
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gates.fault import Stopped
from gates.source import imported

_COMMANDS_PAGE = "docs/commands.md"
_STAGES_PAGE = """# Stages

Stages meet on disk: each reads the rows of earlier stages and writes rows of one kind.

<!-- stages -->
<!-- /stages -->
"""


def pages(root: Path) -> dict[str, str]:
    """Every generated page as it should be, by its path under the root."""
    # argparse folds its text to the width of the terminal; one width makes one text.
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    cli, pipeline = imported(root, "spavl.cli.main"), imported(root, "spavl.pipeline.registry")
    known = list(cli.commands())
    commands = _table(("command", "does"), ((f"`spavl {command.name}`", command.help) for command in known))
    stages = _table(
        ("stage", "reads", "writes", "does"),
        ((stage.name, ", ".join(stage.reads) or "—", stage.writes.__name__, stage.does) for stage in pipeline.STAGES),
    )
    helps = [(command.name, _help(command.parser())) for command in known]
    return {
        _COMMANDS_PAGE: _commands_page(commands, helps),
        "README.md": _filled(root, "README.md", {"commands": commands}),
        "docs/stages.md": _filled(root, "docs/stages.md", {"stages": stages}, _STAGES_PAGE),
        "docs/architecture.md": _filled(root, "docs/architecture.md", {"rooms": _rooms(root)}),
        "docs/benchmarks.md": _filled(root, "docs/benchmarks.md", _benchmarks(root)),
        "docs/evaluation.md": _filled(root, "docs/evaluation.md", {"protocols": _protocols(root)}),
    }


def _rooms(root: Path) -> str:
    """The folders of the package from the top layer down, each with the first line of its docstring."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rows = []
    for number, layer in enumerate(layers, 1):
        for name in sorted(layer.split(" | ")):
            folder = root / "src" / "spavl" / name
            file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
            does = (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]
            shown = f"{name}/" if folder.is_dir() else f"{name}.py"
            linked = f"../{(folder if folder.is_dir() else file).relative_to(root).as_posix()}"
            rows.append((str(number), f"[`{shown}`]({linked})", does))
    return _table(("layer", "folder", "holds"), rows)


def _benchmarks(root: Path) -> dict[str, str]:
    """What stands between each pair of markers of the benchmarks' page."""
    registry, rules, chef, lmms_eval = (
        imported(root, f"spavl.evaluation.{name}")
        for name in (
            "benchmarks.registry",
            "answer_matching.rules",
            "benchmarks.ability.chef",
            "benchmarks.ability.lmms_eval",
        )
    )
    every = registry.BENCHMARKS.values()
    sections = [
        f"### {each.name}\n\n{_sentence(each.does)}\n\n"
        f"- data: {_plain(each.get)}\n- folder: `{each.folder}`\n- scored: {each.scoring}"
        for each in every
    ]
    named = ((f"`{name}`", _sentence(rule.__doc__)) for name, rule in rules.RULES.items())
    recipes = ((each.desideratum, f"`{each.ask}`", each.figure, each.differs) for each in chef.RECIPES)
    commands = (lmms_eval.command(model) for model in ("openai/NAME@http://127.0.0.1:8000/v1", "hf/FOLDER"))
    return {
        "suites": _table(("suite", "asks"), ((f"`{name}`", ", ".join(of)) for name, of in registry.SUITES.items())),
        "benchmarks": "\n" + "\n\n".join(sections) + "\n",
        "rules": _table(("rule", "reads"), named),
        "recipes": _table(("desideratum", "spavl eval MODEL ...", "metric", "difference from ChEF"), recipes),
        "lmms-eval": "\n```sh\n"
        + "\n".join(commands)
        + f"\n```\n\nThe names are those of version {lmms_eval.VERSION}.",
    }


def _protocols(root: Path) -> str:
    """A section for each published protocol: a table of its measures, and what it hides."""
    registry, types = (imported(root, f"spavl.evaluation.protocols.{name}") for name in ("registry", "types"))
    return "\n" + "\n\n".join(_protocol(each, types) for each in registry.PROTOCOLS.values()) + "\n"


def _protocol(protocol: Any, types: Any) -> str:
    rows = []
    for measure in protocol.measures:
        rule = measure.rule
        if isinstance(rule, types.JudgeRule):
            sees = "question, image and both answers" if rule.sees_image else "texts only" if rule.is_pairwise else ""
            judge = f"{rule.papers_judges[0]}: {sees or 'texts only'}, at most {rule.max_tokens:,} tokens"
        else:
            judge = f"the phrases `{rule.phrases}`, {'in lower case' if rule.is_lower_case else 'case-sensitive'}"
        worth = ", ".join(
            f"{name} {value if value == types.DROPPED else format(value, 'g')}" for name, value in measure.worth.items()
        )
        rows.append((f"{measure.title}: {', '.join(measure.benchmarks)}", judge, worth))
    table = _table(("number: benchmarks", "judge of the paper", "what each reading counts"), rows)
    asked = f"- asked: {protocol.asking}; temperature {protocol.temperature:g}, at most {protocol.max_tokens:,} tokens"
    lines = (f"- source: {protocol.source}", asked, f"- hides: {protocol.departures}", f"- texts: {protocol.texts}")
    return f"#### {protocol.name}\n\n{table}\n\n" + "\n".join(lines)


def _plain(text: str) -> str:
    """Words in which a star is a star."""
    return text.replace("*", r"\*")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _help(parser: argparse.ArgumentParser) -> str:
    return "\n".join(line.rstrip() for line in parser.format_help().strip().splitlines())


def _commands_page(table: str, helps: Sequence[tuple[str, str]]) -> str:
    sections = [f"## spavl {command}\n\n```text\n{text}\n```" for command, text in helps]
    head = "# Commands\n\n<!-- Written by `make docs` from the code; edit the code. -->"
    return "\n\n".join([head, table, *sections]) + "\n"


def _filled(root: Path, path: str, blocks: Mapping[str, str], template: str = "") -> str:
    """The page with each block between its markers `<!-- name -->` and `<!-- /name -->`."""
    file = root / path
    text = file.read_text() if file.exists() else template
    for name, block in blocks.items():
        first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, opened, rest = text.partition(first)
        _, closed, after = rest.partition(last)
        if not (opened and closed):
            raise Stopped(f"{path}:1", f"the markers {first} and {last} are missing", f"put both into {path}")
        text = f"{before}{first}\n{block}\n{last}{after}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gates.write_docs", description="write the generated docs")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the repository's folder (default: this one)")
    root = parser.parse_args().root.resolve()
    try:
        written = pages(root)
    except Stopped as stopped:
        print("{}  {}\n  next: {}".format(*stopped.fault), file=sys.stderr)
        return 1
    for path, text in written.items():
        file = root / path
        if not file.exists() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
