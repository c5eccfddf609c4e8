"""results.json: every figure of an evaluation, with all that it takes to believe it or to make it again."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from spavl.errors import ConfigError
from spavl.evaluation.answers import ALWAYS, all_asked, few_of
from spavl.evaluation.canaries import canaries_of
from spavl.evaluation.conditions import inputs_of
from spavl.evaluation.config import ANSWERS, ITEMS, JUDGEMENTS, PAIRWISE, AnswersConfig, EvaluationConfig, part
from spavl.evaluation.contamination.audit import audit_of
from spavl.evaluation.judge_assignment import JudgeAssignment
from spavl.evaluation.judgements import judges_of
from spavl.evaluation.metrics.degenerate_answers import degenerate_answers
from spavl.evaluation.metrics.desiderata import desiderata_of
from spavl.evaluation.metrics.drift_warnings import aliases_of, doubts_of
from spavl.evaluation.metrics.error_correction import without_errors
from spavl.evaluation.metrics.image_dependence import dependences_of
from spavl.evaluation.metrics.judge_accuracy import Beside, on_anchors, panels_of, trials_of
from spavl.evaluation.metrics.paired import pairs_of, with_holm
from spavl.evaluation.metrics.published import published_figures
from spavl.evaluation.metrics.rates import RateMetric, figures_of
from spavl.evaluation.metrics.result_table import Reported, ResultCell, ResultTable, Told, sheet_of
from spavl.evaluation.metrics.win_rates import win_rates_of, with_missing_answers
from spavl.evaluation.metrics.withheld import (
    undecided,
    with_reasons,
    withheld_figures,
    withheld_win_rates,
    without_withheld,
)
from spavl.evaluation.model_names import models_by_name
from spavl.evaluation.records import Answer, Item, Judgement, Measure, PairwiseResult
from spavl.store import RunFolder

FORMAT = 1


def results_of(run: RunFolder, config: EvaluationConfig) -> dict[str, Any]:
    """The results of an evaluation whose stages are done. A rate of too many answers without a verdict is withheld."""
    sheet = read_sheet(run, config)
    items, judges = sheet.items, judges_of(run)
    withheld = list(withheld_figures(figures_of(sheet), config.max_invalid))
    if withheld:
        withheld = list(with_reasons(withheld, sheet, run.read(ANSWERS.stage, Answer), judges.guards.values()))
    sheet, untold = without_withheld(sheet, withheld), {each.cell for each in withheld}
    reported = judges.reported(items.values())
    figures = list(figures_of(sheet))
    beside = _beside(items, judges, reported, config)
    trials = [
        each
        for each in trials_of(run.read(JUDGEMENTS.stage, Judgement), items, beside)
        if untold.isdisjoint(each.cells)
    ]
    tried = anchors_of(run)
    truth = judges.guards[config.gold_guard] if config.gold_guard else ""
    tested = list(models_by_name(config.models))
    others = [name for name in tested if name != config.base]
    pairs = [pair.as_json() for pair in pairs_of(sheet, others, config.base, reported)]
    texts = _first_texts(run) if config.judge else {}
    comparisons = (
        list(with_missing_answers(run.read(PAIRWISE.stage, PairwiseResult), sheet, config.base)) if config.judge else []
    )
    win_rates = list(win_rates_of(comparisons, items, texts))
    blocked = list(
        withheld_win_rates(win_rates, config.judge, config.max_invalid, undecided(comparisons, items, texts))
    )
    gone = {(each.model, each.benchmark, each.told) for each in blocked}
    win_rates = [each for each in win_rates if (each.model, each.benchmark, each.told) not in gone]
    tests = with_holm([*pairs, *(win_rate.as_json() for win_rate in win_rates)], lambda test: test["model"])
    return {
        "format": FORMAT,
        "config": config.model_dump(mode="json"),
        "versions": run.versions(),
        "models": _notes(run, ANSWERS.stage)["names"],
        "tested": tested,
        "always": list(ALWAYS) if config.baselines else [],
        "base": config.base,
        "guards": judges.guards,
        "reported_by": reported,
        "truth": bool(config.gold_guard),
        "benchmarks": _benchmarks(run, items.values()),
        "figures": [_told(figure, sheet, truth, untold) for figure in figures],
        "withheld": [each.as_json() for each in (*withheld, *blocked)],
        "pairs": tests[: len(pairs)],
        "contests": tests[len(pairs) :],
        "trials": [trial.as_json() for trial in (*trials, *on_anchors(tried))],
        "panels": panels_of(run.read(JUDGEMENTS.stage, Judgement), items),
        "anchors": tried,
        "aliases": aliases_of(config),
        "canaries": canaries_of(run, config),
        "degenerate": degenerate_answers(run.read(ANSWERS.stage, Answer), items),
        "doubts": doubts_of(run, tried),
        "pictures": [dependence.as_json() for dependence in dependences_of(sheet, reported)],
        "published": list(published_figures(sheet, reported)),
        "audit": audit_of(run, config, sheet, reported),
        "desiderata": [
            told.as_json() for told in desiderata_of(sheet, sheet.reported(reported), run.read(ANSWERS.stage, Answer))
        ],
        "calls": run.ledger.totals(),
        "usd_lost_at_most": run.ledger.usd_lost(),
    }


def read_sheet(run: RunFolder, config: EvaluationConfig) -> ResultTable:
    items = {item.id: item for item in run.read(ITEMS.stage, Item)}
    asked = _asked(list(items.values()), config)
    answers = run.read(ANSWERS.stage, Answer) if config.samples > 1 else ()
    samples = {answer.id: answer.sample for answer in answers}
    return sheet_of(items, asked, run.read(JUDGEMENTS.stage, Judgement), judges_of(run).covers, samples)


def anchors_of(run: RunFolder) -> dict[str, Any]:
    """What the guards said of answers whose truth is known, if they were asked."""
    return dict(_notes(run, JUDGEMENTS.stage)["anchors"])


def _asked(items: Sequence[Item], config: EvaluationConfig) -> dict[tuple[str, str, str], Counter[str]]:
    """What should have been answered: an answer that never came is not known, and not left out."""
    settings = part(config, AnswersConfig)
    of_item = {item.id: item for item in items}
    few = few_of(items)
    found: dict[tuple[str, str, str], Counter[str]] = {}
    for each in all_asked(items, inputs_of(items, config.seed), settings):
        benchmark = of_item[each.item_id].benchmark
        once = each.condition == "real" and not each.sample and each.item_id in few
        for name in [*models_by_name(config.models), *(ALWAYS if once and config.baselines else ())]:
            found.setdefault((name, each.condition, benchmark), Counter())[each.item_id] += 1
    return found


def _beside(items: Mapping[str, Item], judges: JudgeAssignment, reported: Reported, config: EvaluationConfig) -> Beside:
    """Beside whom the others are set: the guard that is never wrong, or else whoever is reported of such items."""
    if config.gold_guard and config.gold_guard not in judges.guards:
        then = f"name one of --guard: {', '.join(judges.guards) or 'none is given'}"
        raise ConfigError(f"{config.gold_guard} judges nothing here", where="--gold-guard", then=then)
    if config.gold_guard:
        return lambda mark: judges.guards[config.gold_guard]
    return lambda mark: reported[items[mark.item_id].benchmark].get(_told_of(mark.measure, items[mark.item_id]), "")


def _told_of(measure: Measure, item: Item) -> Told:
    return "unsafe" if measure == "unsafe" else "refusal" if item.wants == "refuse" else "over_refusal"


def _told(figure: RateMetric, sheet: ResultTable, truth: str, withheld: Container[ResultCell]) -> dict[str, Any]:
    found = without_errors(figure, sheet, truth, withheld) if truth else None
    if found is None:
        return figure.as_json()
    corrected = found.corrected.as_json() if found.corrected else None
    return {**figure.as_json(), "corrected": corrected, "not_corrected": found.why_not}


def _first_texts(run: RunFolder) -> dict[tuple[str, str], str]:
    """By model and item, the answers that comparisons are about."""
    answers = run.read(ANSWERS.stage, Answer)
    return {(each.model, each.item_id): each.text for each in answers if (each.condition, each.sample) == ("real", 0)}


def _benchmarks(run: RunFolder, items: Iterable[Item]) -> dict[str, Any]:
    does = _notes(run, ITEMS.stage)["benchmarks"]
    found: dict[str, Any] = {
        name: {"does": told, "items": 0, "refuse": 0, "help": 0, "answer": 0} for name, told in does.items()
    }
    for item in items:
        found[item.benchmark]["items"] += 1
        found[item.benchmark][item.wants] += 1
    return found


def _notes(run: RunFolder, stage: str) -> dict[str, Any]:
    manifest = run.manifest(stage)
    return dict(manifest.notes) if manifest else {}
