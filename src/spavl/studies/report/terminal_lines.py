"""A study on the terminal: its table, and the plan of a dry run."""

from collections.abc import Iterator, Sequence

from spavl.report.formatting import duration, percent, points
from spavl.studies.analysis.findings import in_words
from spavl.studies.estimate import StudyEstimate
from spavl.studies.results import ArmDifference, ArmRate, RateName, StudyResults
from spavl.text.layout import table_lines, wrapped_lines

# Of the name of an arm or a cell, so that a row fits into 80 columns.
_NAME = 32
# Of the name of an arm beside its rate. A longer one has a line of its own: cut, it could be that of another arm.
_ARM = 38
_GB = 1e9


def lines(results: StudyResults) -> Iterator[str]:
    """The rates of every arm with their intervals, the differences that hold, and what the study says."""
    yield ""
    yield from wrapped_lines(f"study {results.name}: {results.config.question}", "")
    for name in dict.fromkeys(each.name for each in results.rates):
        yield ""
        yield f"{name.benchmark}, {name.metric.replace('_', ' ')}"
        yield from _table(results, name)
    for table in results.tables:
        if table.main_columns:
            yield from ("", table.title, *table_lines(table.main_rows))
    yield ""
    for each in _largest([each for each in results.differences if each.p_holm <= 0.05]):
        yield from wrapped_lines(f"{_where(each)}: {each.arm} minus {each.control}: {in_words(each)}", "")
    for finding in results.findings:
        gap = f" ({points(finding.difference.value)} points)" if finding.difference else ""
        text = f"{finding.lower} below {finding.higher}, {finding.metric}: {finding.state}{gap}. Paper: {finding.paper}"
        yield from wrapped_lines(text)
    for sign in results.signs:
        if sign.is_warning:
            text = f"warning: {sign.arm}: {sign.sign}: {sign.value:.2f}, above {sign.warns_above:g}"
            yield from wrapped_lines(text)
    for sentence in results.sentences:
        yield from wrapped_lines(sentence, "")
    if results.cells_left:
        yield f"{results.cells_left} of {len(results.cells)} cells are not done; the same command goes on with them"


def _table(results: StudyResults, name: RateName) -> Iterator[str]:
    rows = [each for each in results.rates if each.name == name]
    width = min(_ARM, max(len(each.arm) for each in rows))
    for each in rows:
        if len(each.arm) > width:
            yield f"  {each.arm}"
        yield f"  {each.arm if len(each.arm) <= width else '':<{width}}  {_rate(each)}"


def _rate(each: ArmRate) -> str:
    low, high = 100 * each.rate.low, 100 * each.rate.high
    seeds = f", {len(each.by_seed)} seeds" if len(each.by_seed) > 1 else ""
    return f"{percent(each.rate.value):>8} [{low:5.1f}, {high:5.1f}]  n {each.rate.n}{seeds}"


def _where(each: ArmDifference) -> str:
    part = "" if each.name.part == "all" else f", {each.name.part}"
    return f"{each.name.benchmark}, {each.name.metric.replace('_', ' ')}{part}"


def _largest(found: Sequence[ArmDifference], most: int = 12) -> Sequence[ArmDifference]:
    return sorted(found, key=lambda each: -abs(each.difference.value))[:most]


def plan(found: StudyEstimate) -> Iterator[str]:
    """The cells of a dry run."""
    yield from wrapped_lines(found.config.question, "")
    yield ""
    width = min(_NAME, max(len(each.cell.title) for each in found.cells))
    yield f"  {'cell':<{width}}  {'id':<16} {'pairs':>7} {'time':>10} {'memory':>8}"
    for each in found.cells:
        time = (
            "done" if each.is_done else "?" if each.seconds is None else duration(each.seconds) if each.pairs else "-"
        )
        memory = f"{each.memory / _GB:.1f} GB" if each.memory else "-"
        title = each.cell.title[:width]
        yield f"  {title:<{width}}  {each.cell.id:<16} {each.pairs:>7,} {time:>10} {memory:>8}"
    left = len(found.cells_left)
    known = [each.seconds for each in found.cells_left if each.seconds is not None]
    yield ""
    yield f"{len(found.cells)} cells, {len(found.cells) - left} of them done"
    yield f"training: about {duration(sum(known))}, by steps measured here; start-up of each cell comes on top"
    calls = ", ".join(f"{number:,} {stage}" for stage, number in found.calls_of_cell.items()) or "none"
    yield from wrapped_lines(f"evaluation, model calls of a cell: {calls}")
    if found.evaluation_seconds is None:
        yield "evaluation: its time is not known before a first cell is done"
    else:
        mean = found.evaluation_seconds
        yield f"evaluation: about {duration(mean * left)}, {duration(mean)} a cell as in those that are done"
    for line in found.warnings:
        yield from wrapped_lines(f"warning: {line}")
