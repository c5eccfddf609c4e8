"""Compares two models from the evaluations that they sat: the figures, what changed, and a page of both."""

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spavl.config import read_settings, read_table
from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.judgements import judges_of
from spavl.evaluation.metrics.item_changes import ComparedModel, compare
from spavl.evaluation.metrics.paired import with_holm, with_what_could_be_clear
from spavl.evaluation.metrics.rates import figures_of
from spavl.evaluation.metrics.withheld import withheld_figures, without_withheld
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.records import Answer, Judgement
from spavl.evaluation.report.compare_page import render_comparison
from spavl.evaluation.report.samples import ShownAnswer, said_of
from spavl.evaluation.report.tables import withheld_lines
from spavl.evaluation.results import anchors_of, read_sheet
from spavl.judges.gold_answers import drift
from spavl.store import RunFolder
from spavl.store.files import write_text


class EvaluatedModel(NamedTuple):
    """A model, and the evaluation that it sat."""

    folder: Path
    model: str


def find_both(one: str, other: str, evaluations: Sequence[Path]) -> tuple[EvaluatedModel, EvaluatedModel]:
    """Two models by their names in an evaluation, or in one each; without any, by the evaluations' own folders."""
    if len(evaluations) > 2:
        then = "name one evaluation of both, or two: that of the first model and that of the second"
        raise ConfigError(f"two models are compared, and {len(evaluations)} evaluations are named", then=then)
    if not evaluations:
        return _alone_in(Path(one)), _alone_in(Path(other))
    return _named(one, evaluations[0]), _named(other, evaluations[-1])


def contrast(before: EvaluatedModel, after: EvaluatedModel, out: Path) -> dict[str, Any]:
    """Write what changed from one to the other, and give it."""
    with _opened(before) as (one, one_said), _opened(after) as (two, two_said):
        found = compare(one, two)
        lines = [line.as_json() for line in found.lines]
        tests = with_holm([*lines, *_win_rates(before, after)], lambda test: "")
        leaves = [leaf.as_json() for leaf in found.leaves]
        results = {
            "before": {"model": before.model, "exam": str(before.folder)},
            "after": {"model": after.model, "exam": str(after.folder)},
            "lines": tests[: len(lines)],
            "leaves": with_what_could_be_clear(with_holm(leaves, _rate_of), _rate_of),
            "contests": tests[len(lines) :],
            "drift": _drift(before, after),
            "asked_otherwise": [*_asked_otherwise(_config(before.folder), _config(after.folder)), *found.apart],
            "canaries": list(dict.fromkeys([*_canaries(before), *_canaries(after)])),
            "withheld": [*_withheld(before), *_withheld(after)],
            "changes": [change.as_json() for change in found.changes],
        }
        write_text(out / "comparison.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        with RunFolder(after.folder, look_only=True) as run:
            page = render_comparison(results, run, {**one.sheet.items, **two.sheet.items}, one_said, two_said)
        write_text(out / "comparison.html", page)
    return results


def _rate_of(leaf: Mapping[str, Any]) -> tuple[str, str]:
    return leaf["benchmark"], leaf["told"]


@contextlib.contextmanager
def _opened(evaluated: EvaluatedModel) -> Iterator[tuple[ComparedModel, dict[str, ShownAnswer]]]:
    config = _config(evaluated.folder)
    with RunFolder(evaluated.folder, look_only=True) as run:
        sheet = read_sheet(run, config)
        sheet = without_withheld(sheet, withheld_figures(figures_of(sheet), config.max_invalid))
        reported = judges_of(run).reported(sheet.items.values())
        results = {"reported_by": reported}
        said = said_of(
            run.read("answers", Answer), run.read("judgements", Judgement), sheet.items, results, [evaluated.model]
        )
        yield (
            ComparedModel(evaluated.model, sheet, reported),
            {item: own[evaluated.model] for item, own in said.items()},
        )


def _asked_otherwise(before: EvaluationConfig, after: EvaluationConfig) -> Iterator[str]:
    """How the two were told to speak, where that is not the same: a difference may be of that alone."""
    for name in ("temperature", "max_tokens", "samples"):
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            yield f"{name.replace('_', ' ')} {one:g} for the first, {other:g} for the second"


def _win_rates(before: EvaluatedModel, after: EvaluatedModel) -> list[Any]:
    """The comparisons of the two in either evaluation, whichever of them was the base there."""
    both = {before.model, after.model}
    for folder in dict.fromkeys((after.folder, before.folder)):
        told = json.loads((folder / "results.json").read_text())
        met = [each for each in told["contests"] if {each["model"], each["against"]} == both]
        if met:
            return met
    return []


def _withheld(evaluated: EvaluatedModel) -> list[str]:
    """The rates of a model that its evaluation does not tell; here they are not compared either."""
    told = json.loads((evaluated.folder / "results.json").read_text())
    return withheld_lines({"withheld": [each for each in told.get("withheld", ()) if each["model"] == evaluated.model]})


def _canaries(evaluated: EvaluatedModel) -> list[str]:
    """Of each judge of its evaluation that failed canaries, which: a difference may be of that alone."""
    told: list[str] = json.loads((evaluated.folder / "results.json").read_text()).get("canaries", {}).get("told", [])
    return [f"in {evaluated.folder.name}, {each}" for each in told]


def _drift(before: EvaluatedModel, after: EvaluatedModel) -> dict[str, Any]:
    """Of each guard that judged the same anchors in both evaluations: whether it still is who it was."""
    with RunFolder(before.folder, look_only=True) as one, RunFolder(after.folder, look_only=True) as two:
        then, now = anchors_of(one), anchors_of(two)
    if before.folder == after.folder or not now or then.get("digest") != now["digest"]:
        return {}
    both = then["labels"].keys() & now["labels"].keys()
    return {judge: drift(now["truth"], then["labels"][judge], now["labels"][judge]).as_json() for judge in sorted(both)}


def _alone_in(folder: Path) -> EvaluatedModel:
    names = list(_named_in(folder).values())
    tested = list(dict.fromkeys(names))
    if len(tested) != 1:
        then = shlex.join(["spavl", "compare", *tested[:2], str(folder)])
        raise ConfigError(f"{len(tested)} models are in this evaluation", where=str(folder), then=then)
    return EvaluatedModel(folder, tested[0])


def _named(name: str, folder: Path) -> EvaluatedModel:
    known = _named_in(folder)
    if name not in known:
        named = ", ".join(sorted(set(known.values())))
        then = f"name one of {named}; of two evaluations the first is that of the first model"
        raise ConfigError(f"no model {name!r} is in this evaluation", where=str(folder), then=then)
    return EvaluatedModel(folder, known[name])


def _named_in(folder: Path) -> dict[str, str]:
    """The names of the models of an evaluation, by themselves and by the models' own names."""
    tested = models_by_name(_config(folder).models)
    return {**{uri: name for name, uri in tested.items()}, **{name: name for name in tested}}


def _config(folder: Path) -> EvaluationConfig:
    if not (folder / "results.json").is_file():
        then = "give the folder of an evaluation that spavl eval has finished"
        raise ConfigError("there is no finished evaluation here", where=str(folder), then=then)
    return read_settings(EvaluationConfig, read_table(str(folder / "config.toml")), {}, where=str(folder))
