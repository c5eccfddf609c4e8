"""Compares two evaluated models: their rates, what changed item by item, and a page of both."""

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spavl.errors import ConfigError
from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.judgements import judges_of
from spavl.evaluation.metrics.item_changes import ComparedModel, RateComparison, compare
from spavl.evaluation.metrics.paired import holm_corrected
from spavl.evaluation.metrics.rates import rate_metrics_of
from spavl.evaluation.metrics.win_rates import WinRate
from spavl.evaluation.metrics.withheld import withheld_rates, without_withheld
from spavl.evaluation.model_names import models_by_name, name_among
from spavl.evaluation.records import Answer, Judgement
from spavl.evaluation.report.compare_page import render_comparison
from spavl.evaluation.report.samples import ShownAnswer, shown_answers
from spavl.evaluation.report.tables import withheld_lines
from spavl.evaluation.results.build import gold_answers_of, read_result_table
from spavl.evaluation.results.comparison import ComparisonResults, EvaluatedModel, write_comparison
from spavl.evaluation.results.file import read_results
from spavl.evaluation.results.types import EvaluationResults
from spavl.judges.gold_answers import JudgeDrift, drift
from spavl.store import RunFolder
from spavl.store.files import write_text
from spavl.text.nearest import suggestion


def find_both(one: str, other: str, evaluations: Sequence[Path]) -> tuple[EvaluatedModel, EvaluatedModel]:
    """Finds two models by name in one evaluation or in one each; without any, the names are folders of evaluations."""
    if len(evaluations) > 2:
        then = "name one evaluation of both, or two: that of the first model and that of the second"
        raise ConfigError(f"two models are compared, and {len(evaluations)} evaluations are named", then=then)
    if not evaluations:
        return _alone_in(Path(one)), _alone_in(Path(other))
    return _evaluated_model(one, evaluations[0]), _evaluated_model(other, evaluations[-1])


def compare_models(before: EvaluatedModel, after: EvaluatedModel, out: Path) -> ComparisonResults:
    """Write and return what changed from one model to the other."""
    evaluations = {each.folder: read_results(each.folder) for each in (before, after)}
    with _open_evaluation(before) as (one, one_answers), _open_evaluation(after) as (two, two_answers):
        found = compare(one, two)
        tests: list[RateComparison | WinRate] = [*found.lines, *_win_rates(before, after, evaluations)]
        corrected = holm_corrected(tests, lambda test: "")
        differently = _asked_otherwise(_config(before.folder), _config(after.folder))
        results = ComparisonResults(
            before=before,
            after=after,
            lines=tuple(test for test in corrected if isinstance(test, RateComparison)),
            leaves=tuple(found.leaves),
            win_rates=tuple(test for test in corrected if isinstance(test, WinRate)),
            drift=_drift(before, after),
            asked_otherwise=(*differently, *found.not_shared),
            canaries=tuple(dict.fromkeys(each for folder in evaluations for each in _canaries(folder, evaluations))),
            withheld=(*_withheld(before, evaluations), *_withheld(after, evaluations)),
            changes=tuple(found.changes),
        )
        write_comparison(out, results)
        with RunFolder(after.folder, look_only=True) as run:
            items = {**one.table.items, **two.table.items}
            page = render_comparison(results, run, items, one_answers, two_answers)
        write_text(out / "comparison.html", page)
    return results


@contextlib.contextmanager
def _open_evaluation(evaluated: EvaluatedModel) -> Iterator[tuple[ComparedModel, dict[str, ShownAnswer]]]:
    config = _config(evaluated.folder)
    with RunFolder(evaluated.folder, look_only=True) as run:
        table = read_result_table(run, config)
        table = without_withheld(table, withheld_rates(rate_metrics_of(table), config.max_invalid))
        reported = judges_of(run).reported_judges(table.items.values())
        answers, judgements = run.read("answers", Answer), run.read("judgements", Judgement)
        shown = shown_answers(answers, judgements, table.items, reported, [evaluated.model])
        yield (
            ComparedModel(evaluated.model, table, reported),
            {item: own[evaluated.model] for item, own in shown.items()},
        )


def _asked_otherwise(before: EvaluationConfig, after: EvaluationConfig) -> Iterator[str]:
    """The settings of the answers that differ: they alone may cause a difference between the models."""
    for name in ("temperature", "max_tokens", "samples"):
        one, other = getattr(before, name), getattr(after, name)
        if one != other:
            yield f"{name.replace('_', ' ')} {one:g} for the first, {other:g} for the second"


_Evaluations = Mapping[Path, EvaluationResults]


def _win_rates(before: EvaluatedModel, after: EvaluatedModel, evaluations: _Evaluations) -> Sequence[WinRate]:
    """The win rates of the two against each other in either evaluation, whichever was the base."""
    both = {before.model, after.model}
    for folder in (after.folder, before.folder):
        if found := [each for each in evaluations[folder].win_rates if {each.model, each.against} == both]:
            return found
    return ()


def _withheld(evaluated: EvaluatedModel, evaluations: _Evaluations) -> list[str]:
    """The rates of a model that its evaluation withholds; they are not compared either."""
    withheld = evaluations[evaluated.folder].withheld
    return withheld_lines([each for each in withheld if each.model == evaluated.model])


def _canaries(folder: Path, evaluations: _Evaluations) -> list[str]:
    """A warning for each judge of an evaluation that failed canaries: it alone may cause a difference."""
    return [f"in {folder.name}, {each}" for each in evaluations[folder].canaries.warnings]


def _drift(before: EvaluatedModel, after: EvaluatedModel) -> dict[str, JudgeDrift]:
    """For each guard that judged the same gold answers in both evaluations: whether its verdicts have changed."""
    with RunFolder(before.folder, look_only=True) as one, RunFolder(after.folder, look_only=True) as two:
        then, now = gold_answers_of(one), gold_answers_of(two)
    if before.folder == after.folder or not then or not now or then.digest != now.digest:
        return {}
    both = then.by_judge.keys() & now.by_judge.keys()
    return {judge: drift(now.gold, then.by_judge[judge], now.by_judge[judge]) for judge in sorted(both)}


def _alone_in(folder: Path) -> EvaluatedModel:
    tested = list(models_by_name(_config(folder).models))
    if len(tested) != 1:
        then = shlex.join(["spavl", "compare", *tested[:2], str(folder)])
        raise ConfigError(f"{len(tested)} models are in this evaluation", where=str(folder), then=then)
    return EvaluatedModel(folder, tested[0])


def _evaluated_model(name: str, folder: Path) -> EvaluatedModel:
    tested = models_by_name(_config(folder).models)
    known = name_among(tested, name)
    if known not in tested:
        meant = suggestion(name, tested, "its models")
        then = f"{meant}; of two evaluations the first is that of the first model"
        raise ConfigError(f"no model {name!r} is in this evaluation", where=str(folder), then=then)
    return EvaluatedModel(folder, known)


def _config(folder: Path) -> EvaluationConfig:
    return read_results(folder).config
