"""The tables of a study in Markdown: what a paper, a card or these pages quote."""

from collections.abc import Iterator, Sequence

from spavl.evaluation.report.tables import TITLES
from spavl.report.formatting import in_table, name_in_words, p_value, percent, points
from spavl.statistics import Estimate
from spavl.statistics.paired import ALPHA
from spavl.studies.bias.tables import BiasTable
from spavl.studies.report.words import (
    data_in_words,
    evaluation_in_words,
    form_in_words,
    guards_in_words,
    intervals_in_words,
    models_of,
    pairs_in_words,
    settings_in_words,
)
from spavl.studies.results import StudyResults

# The rates that a table shows, where they were measured.
_METRICS = ("unsafe", "over_refusal", "right", "alignment_tax", "names_object", "win_rate", "harm_score")

# Those that are told of unseen and of seen leaves; the page has them all.
_OF_PARTS = ("unsafe", "over_refusal")
# Of more arms than these only the number is told.
_FEW = 2


def markdown(results: StudyResults) -> str:
    """The rates of each benchmark, the paper's findings, and what the numbers say."""
    parts = [f"**{in_table(results.config.question or results.name)}**", _about(results)]
    parts += ["\n".join(_rates(results, name)) for name in dict.fromkeys(each.name.benchmark for each in results.rates)]
    parts += ["\n".join(_parts(results))] if any(each.name.part != "all" for each in results.differences) else []
    parts += ["\n".join(_front(results))] if results.front else []
    parts += ["\n".join(_curves(results))] if results.curves else []
    parts += ["\n".join(_bias(table)) for table in results.tables if table.main_columns]
    parts += ["\n".join(_findings(results))] if results.findings else []
    parts += ["\n".join(f"- {line}" for line in (*map(in_table, results.sentences), *_warnings(results)))]
    return "\n\n".join(parts) + "\n"


def _about(results: StudyResults) -> str:
    seeds, states = results.config.seeds, [cell.state for cell in results.cells]
    done = f"{states.count('done')} of {len(states)} cells" if results.cells_left else f"{len(states)} cells"
    common = settings_in_words(results.settings.common)
    return (
        f"{done}, seeds {', '.join(map(str, seeds))}. Models: {in_table(', '.join(models_of(results)))}. Trained with: "
        f"{in_table(common)}. Evaluated on: {in_table(evaluation_in_words(results))}; guards: "
        f"{in_table(guards_in_words(results)) or 'none'}. Data: {in_table(data_in_words(results))}. spavl "
        f"{results.versions.get('spavl', '?')}; all settings are in study.toml. Brackets hold 95 % intervals "
        f"{intervals_in_words(results)}; in bold what differs from “{in_table(results.config.control)}” after Holm's "
        "correction."
    )


def _rates(results: StudyResults, benchmark: str) -> Iterator[str]:
    own = {(each.arm, each.name.metric): each for each in results.rates if each.name.benchmark == benchmark}
    metrics = [metric for metric in _METRICS if any(metric == known for _, known in own)]
    told = {
        (each.arm, each.name.metric)
        for each in results.differences
        if each.name.benchmark == benchmark and each.name.part == "all" and each.p_holm <= ALPHA
    }
    yield from _table_head([benchmark, "pairs", *(_title(metric) for metric in metrics)])
    for arm in results.arms:
        found = [own.get((arm, metric)) for metric in metrics]
        if any(found):
            cells = [_cell(each.rate, (arm, each.name.metric) in told) if each else "–" for each in found]
            yield f"| {in_table(arm)} | {pairs_in_words(results, arm)} | {' | '.join(cells)} |"


def _parts(results: StudyResults) -> Iterator[str]:
    yield from _table_head(["difference from the control", "items", "rate", "points", "p, Holm"])
    for each in results.differences:
        if each.name.part != "all" and each.name.metric in _OF_PARTS:
            points = points_in_words(each.difference)
            cells = (in_table(each.arm), each.name.part, _title(each.name.metric), points, p_value(each.p_holm))
            yield f"| {' | '.join(cells)} |"


def _front(results: StudyResults) -> Iterator[str]:
    yield from _table_head(["arm", *map(_title, results.front[0].rates), "beaten by", "on the front"])
    for each in results.front:
        rates = [percent(rate) for rate in each.rates.values()]
        by = each.dominated_by
        beaten = f"{len(by)} arms" if len(by) > _FEW else in_table(", ".join(by)) or "none"
        yield f"| {in_table(each.arm)} | {' | '.join(rates)} | {beaten} | {percent(each.share, 0)} of resamples |"


def _curves(results: StudyResults) -> Iterator[str]:
    yield from _table_head(["curve", "rate", "form", "twice the pairs, points", "worth it"])
    for each in results.curves:
        gap = points_in_words(each.doubling) if each.doubling else "–"
        cells = (in_table(each.series), _title(each.name.metric), form_in_words(each), gap, each.is_more_worth_it)
        yield f"| {' | '.join(cells)} |"


def _bias(table: BiasTable) -> Iterator[str]:
    yield f"{in_table(table.title)}:"
    yield ""
    head, *rows = table.main_rows
    yield from _table_head(head)
    yield from (f"| {' | '.join(map(in_table, row))} |" for row in rows)


def _findings(results: StudyResults) -> Iterator[str]:
    yield from _table_head(["the paper: lower", "higher", "its numbers", "here, points", "so"])
    for each in results.findings:
        gap = points(each.difference.value) if each.difference else "–"
        cells = (in_table(each.lower), in_table(each.higher), in_table(each.paper), gap, f"**{each.state}**")
        yield f"| {' | '.join(cells)} |"


def _warnings(results: StudyResults) -> Iterator[str]:
    for sign in results.signs:
        if sign.is_warning:
            line = percent(sign.warns_above, 0)
            yield f"Warning: {in_table(sign.arm)}: {in_table(sign.sign)}: {percent(sign.value)}, above {line}."


def _table_head(names: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(map(in_table, names))} |"
    yield f"| {' | '.join(['---'] * len(names))} |"


def _title(metric: str) -> str:
    return TITLES.get(metric, name_in_words(metric))


def _cell(rate: Estimate, holds: bool) -> str:
    value = f"**{percent(rate.value)}**" if holds else percent(rate.value)
    return f"{value} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def points_in_words(gap: Estimate) -> str:
    return f"{points(gap.value)} [{points(gap.low)}, {points(gap.high)}]"
