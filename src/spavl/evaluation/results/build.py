"""Computes the results of an evaluation from the rows of its finished stages."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from spavl.errors import ConfigError
from spavl.evaluation.answers import BASELINES, all_asked, baseline_sample
from spavl.evaluation.canaries import canary_summary
from spavl.evaluation.conditions import inputs_of
from spavl.evaluation.config import (
    ANSWERS,
    AS_PUBLISHED,
    ITEMS,
    JUDGEMENTS,
    PAIRWISE,
    AnswersConfig,
    EvaluationConfig,
    part,
)
from spavl.evaluation.contamination.audit import audit_of
from spavl.evaluation.judge_assignment import JudgeAssignment
from spavl.evaluation.judgements import judges_of
from spavl.evaluation.metrics.as_published import OwnResults, RateAsPublished, rates_as_published
from spavl.evaluation.metrics.degenerate_answers import degenerate_answers
from spavl.evaluation.metrics.desiderata import desiderata_of
from spavl.evaluation.metrics.drift_warnings import aliases_of, drift_warnings_of
from spavl.evaluation.metrics.error_correction import without_errors
from spavl.evaluation.metrics.image_dependence import image_dependence_of
from spavl.evaluation.metrics.judge_accuracy import (
    ComparedWith,
    JudgeAccuracy,
    accuracy_on_gold_answers,
    judge_accuracy_of,
    judge_agreement_of,
)
from spavl.evaluation.metrics.paired import PairedRates, holm_corrected, pairs_of
from spavl.evaluation.metrics.published import published_metrics
from spavl.evaluation.metrics.rates import RateMetric, rate_metrics_of
from spavl.evaluation.metrics.result_table import Metric, Reported, ResultCell, ResultTable, result_table_of
from spavl.evaluation.metrics.win_rates import WinRate, win_rates_of, with_missing_answers
from spavl.evaluation.metrics.withheld import (
    WithheldRate,
    undecided_reasons,
    with_reasons,
    withheld_rates,
    withheld_win_rates,
    without_withheld,
)
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.notes import AnswersNotes, ItemsNotes, JudgementsNotes, notes_of
from spavl.evaluation.protocols.registry import protocols_named
from spavl.evaluation.records import Answer, Item, Judgement, Measure, PairwiseResult, PublishedJudgement
from spavl.evaluation.results.types import BenchmarkSummary, CallTotals, EvaluationResults
from spavl.judges.gold_answers import JudgedGoldAnswers
from spavl.store import RunFolder


def results_of(run: RunFolder, config: EvaluationConfig) -> EvaluationResults:
    """The results of an evaluation whose stages are done. Rates with too many unknown answers are withheld."""
    whole = read_result_table(run, config)
    judges, gold_answers = judges_of(run), gold_answers_of(run)
    reported = judges.reported_judges(whole.items.values())
    withheld = _withheld_of(run, whole, judges, config)
    table, cells = without_withheld(whole, withheld), {each.cell for each in withheld}
    tested = list(models_by_name(config.models))
    pairs = list(pairs_of(table, [name for name in tested if name != config.base], config.base, reported))
    compared = _win_rates_of(run, table, config)
    tests: list[PairedRates | WinRate] = [*pairs, *compared.win_rates]
    corrected = holm_corrected(tests, _model_of)
    compared_with = _compared_with(table.items, judges, reported, config)
    return EvaluationResults(
        config=config,
        versions=run.versions(),
        models=notes_of(run, ANSWERS, AnswersNotes).names,
        tested=tuple(tested),
        baselines=tuple(BASELINES) if config.baselines else (),
        base=config.base,
        guards=judges.guards,
        reported_by=reported,
        benchmarks=_benchmarks(run, table.items.values()),
        rates=tuple(_corrected_rates(table, judges, config, cells)),
        withheld=(*withheld, *compared.withheld),
        pairs=tuple(test for test in corrected if isinstance(test, PairedRates)),
        win_rates=tuple(test for test in corrected if isinstance(test, WinRate)),
        judge_accuracy=(
            *_accuracy_of(run.read(JUDGEMENTS.stage, Judgement), table.items, compared_with, cells),
            *accuracy_on_gold_answers(gold_answers),
        ),
        judge_agreement=tuple(judge_agreement_of(run.read(JUDGEMENTS.stage, Judgement), table.items)),
        gold_answers=gold_answers,
        aliases=tuple(aliases_of(config)),
        canaries=canary_summary(run, config),
        degenerate=tuple(degenerate_answers(run.read(ANSWERS.stage, Answer), table.items)),
        drift_warnings=tuple(drift_warnings_of(run, gold_answers)),
        image_dependence=tuple(image_dependence_of(table, reported)),
        published=tuple(published_metrics(table, reported)),
        contamination=audit_of(run, config, table, reported),
        desiderata=tuple(desiderata_of(table, table.reported_cells(reported), run.read(ANSWERS.stage, Answer))),
        calls=CallTotals(**run.ledger.totals()),
        usd_lost_at_most=run.ledger.usd_lost(),
        as_published=tuple(_as_published(run, config, _own_results(table, reported, cells, compared, config.base))),
    )


def _as_published(run: RunFolder, config: EvaluationConfig, own: OwnResults) -> Iterator[RateAsPublished]:
    if config.protocol:
        judgements = run.read(AS_PUBLISHED.stage, PublishedJudgement)
        yield from rates_as_published(protocols_named(config.protocol), judgements, own, models_by_name(config.models))


def read_result_table(run: RunFolder, config: EvaluationConfig) -> ResultTable:
    items = {item.id: item for item in run.read(ITEMS.stage, Item)}
    asked = _expected_answers(list(items.values()), config)
    answers = run.read(ANSWERS.stage, Answer) if config.samples > 1 else ()
    samples = {answer.id: answer.sample for answer in answers}
    return result_table_of(items, asked, run.read(JUDGEMENTS.stage, Judgement), judges_of(run).covers, samples)


def gold_answers_of(run: RunFolder) -> JudgedGoldAnswers | None:
    """The guards' labels of the gold answers; None if there are no gold answers."""
    return notes_of(run, JUDGEMENTS, JudgementsNotes).gold_answers


def _expected_answers(items: Sequence[Item], config: EvaluationConfig) -> dict[tuple[str, str, str], Counter[str]]:
    """The expected answers by model, condition and benchmark: a missing answer is unknown, and not left out."""
    settings = part(config, AnswersConfig)
    of_item = {item.id: item for item in items}
    for_baselines = baseline_sample(items)
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for each in all_asked(items, inputs_of(items, config.seed), settings):
        benchmark = of_item[each.item_id].benchmark
        once = each.condition == "real" and not each.sample and each.item_id in for_baselines
        for name in [*models_by_name(config.models), *(BASELINES if once and config.baselines else ())]:
            found.setdefault((name, each.condition, benchmark), Counter())[each.item_id] += 1
    return found


def _withheld_of(
    run: RunFolder, table: ResultTable, judges: JudgeAssignment, config: EvaluationConfig
) -> list[WithheldRate]:
    found = list(withheld_rates(rate_metrics_of(table), config.max_invalid))
    if not found:
        return []
    return list(with_reasons(found, table, run.read(ANSWERS.stage, Answer), judges.guards.values()))


class _ComparedAnswers(NamedTuple):
    win_rates: list[WinRate]
    withheld: list[WithheldRate]


def _own_results(
    table: ResultTable, reported: Reported, withheld: Container[ResultCell], compared: _ComparedAnswers, base: str
) -> OwnResults:
    wins = {(each.model, each.benchmark, each.metric) for each in compared.withheld}
    return OwnResults(table, reported, withheld, compared.win_rates, wins, base)


def _win_rates_of(run: RunFolder, table: ResultTable, config: EvaluationConfig) -> _ComparedAnswers:
    """The win rates to report, and those that are withheld because too many comparisons have no outcome."""
    if not config.judge:
        return _ComparedAnswers([], [])
    texts = _first_texts(run)
    comparisons = list(with_missing_answers(run.read(PAIRWISE.stage, PairwiseResult), table, config.base))
    win_rates = list(win_rates_of(comparisons, table.items, texts))
    states = undecided_reasons(comparisons, table.items, texts)
    withheld = list(withheld_win_rates(win_rates, config.judge, config.max_invalid, states))
    gone = {(each.model, each.benchmark, each.metric) for each in withheld}
    return _ComparedAnswers(
        [each for each in win_rates if (each.model, each.benchmark, each.metric) not in gone], withheld
    )


def _model_of(test: PairedRates | WinRate) -> str:
    """Holm's correction is over all rates and win rates of a model."""
    return test.cell.model if isinstance(test, PairedRates) else test.model


def _accuracy_of(
    judgements: Iterable[Judgement],
    items: Mapping[str, Item],
    compared_with: ComparedWith,
    withheld: Container[ResultCell],
) -> Iterator[JudgeAccuracy]:
    """The accuracy of judges, without those whose rate of the same answers is withheld."""
    for each in judge_accuracy_of(judgements, items, compared_with):
        if not any(cell in withheld for cell in each.cells):
            yield each


def _compared_with(
    items: Mapping[str, Item], judges: JudgeAssignment, reported: Reported, config: EvaluationConfig
) -> ComparedWith:
    """Compares with the gold guard, or else with the judge that is reported for such items."""
    gold = _gold_judge(judges, config)
    if gold:
        return lambda judgement: gold
    return lambda each: reported[items[each.item_id].benchmark].get(_metric_of(each.measure, items[each.item_id]), "")


def _gold_judge(judges: JudgeAssignment, config: EvaluationConfig) -> str:
    """The name of the gold guard in the judgements; empty if there is none."""
    if config.gold_guard and config.gold_guard not in judges.guards:
        then = f"name one of --guard: {', '.join(judges.guards) or 'none is given'}"
        raise ConfigError(f"{config.gold_guard} is not one of the guards", where="--gold-guard", then=then)
    return judges.guards[config.gold_guard] if config.gold_guard else ""


def _metric_of(measure: Measure, item: Item) -> Metric:
    return "unsafe" if measure == "unsafe" else "refusal" if item.wants == "refuse" else "over_refusal"


def _corrected_rates(
    table: ResultTable, judges: JudgeAssignment, config: EvaluationConfig, withheld: Container[ResultCell]
) -> Iterator[RateMetric]:
    """The rates; if there is a gold guard, with the rates corrected for the judges' errors."""
    gold = _gold_judge(judges, config)
    for rate in rate_metrics_of(table):
        found = without_errors(rate, table, gold, withheld) if gold else None
        yield replace(rate, corrected=found.corrected, not_corrected=found.why_not) if found else rate


def _first_texts(run: RunFolder) -> dict[tuple[str, str], str]:
    """The answers that are compared, by model and item."""
    answers = run.read(ANSWERS.stage, Answer)
    return {(each.model, each.item_id): each.text for each in answers if (each.condition, each.sample) == ("real", 0)}


def _benchmarks(run: RunFolder, items: Iterable[Item]) -> dict[str, BenchmarkSummary]:
    wanted: dict[str, Counter[str]] = {}
    for item in items:
        wanted.setdefault(item.benchmark, Counter())[item.wants] += 1
    return {
        name: BenchmarkSummary(does=does, items=wanted[name].total(), **wanted[name])
        for name, does in notes_of(run, ITEMS, ItemsNotes).benchmarks.items()
    }
