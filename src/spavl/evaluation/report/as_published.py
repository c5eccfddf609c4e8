"""The numbers of published protocols as tables: paper, as published, spavl. The terminal and the page show the same."""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from spavl.evaluation.metrics.as_published import RateAsPublished
from spavl.evaluation.protocols.registry import PROTOCOLS
from spavl.evaluation.report.tables import TITLES
from spavl.evaluation.results.types import EvaluationResults
from spavl.report.formatting import in_table
from spavl.statistics import Estimate
from spavl.text.layout import table_lines, wrapped_lines

_OTHER = "*"


class PublishedRow(NamedTuple):
    """A row's name, of its subset, group and model, and its numbers."""

    name: str
    rate: RateAsPublished


class PublishedView(NamedTuple):
    """One measure of a protocol on one benchmark, with a row for each subset and model."""

    title: str
    # What the tested models must be asked like, and where the protocol is from.
    source: str
    # The head of the column of the protocol's numbers: it names the judge, if that is not the paper's.
    head: str
    ours: str
    rows: tuple[PublishedRow, ...]
    # The rows of single groups, such as scenarios.
    groups: tuple[PublishedRow, ...]
    notes: tuple[str, ...]


def published_views(results: EvaluationResults) -> Iterator[PublishedView]:
    def place(each: RateAsPublished) -> tuple[str, str, str]:
        return each.protocol, each.benchmark, each.measure

    for (protocol, benchmark, _), found in groupby(_in_order(results), key=place):
        rates = list(found)
        first = rates[0]
        own = PROTOCOLS[protocol]
        yield PublishedView(
            title=f"{benchmark} as published ({protocol}): {first.title}",
            source=own.source,
            head=_head(rates),
            ours=f"spavl: {TITLES.get(first.ours.metric, first.ours.metric)}",
            rows=tuple(_rows(rates, whole=True)),
            groups=tuple(_rows(rates, whole=False)),
            notes=tuple(_notes(rates, results)),
        )


def published_lines(results: EvaluationResults) -> Iterator[str]:
    for view in published_views(results):
        yield ""
        yield from wrapped_lines(f"{view.title}; {view.source}")
        rows = [["", "paper", view.head, "n", view.ours, "n"], *map(cells, view.rows)]
        yield from table_lines(rows, starts=(1, 2, 4), named=True)
        for note in view.notes:
            yield from wrapped_lines(note, indent="  ")


def published_markdown(results: EvaluationResults, heading: str) -> Iterator[str]:
    for view in published_views(results):
        yield from ("", f"{heading} {view.title}", "", f"{view.source}.", "")
        yield f"| | paper | {in_table(view.head)} | n | {view.ours} | n |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: |"
        yield from (f"| {' | '.join(map(in_table, cells(each)))} |" for each in view.rows)
        for note in view.notes:
            yield from ("", f"{in_table(note[0].upper() + note[1:])}.")


def cells(row: PublishedRow) -> list[str]:
    name, each = row
    ours = each.ours.rate
    own = "withheld" if each.ours.is_withheld else _rate(ours) if ours else "–"
    return [name, paper(each), _rate(each.rate), f"{each.rate.n:,}", own, f"{ours.n:,}" if ours else ""]


def _rows(rates: Sequence[RateAsPublished], whole: bool) -> Iterator[PublishedRow]:
    """The rows of the benchmark and its subsets, or those of its groups."""
    several = "mean of subsets" if _is_mean(rates[0]) else "all subsets"
    several = several if any(each.part == "subset" for each in rates) else ""
    for each in rates:
        if (each.part != "group") == whole:
            yield PublishedRow(", ".join(filter(None, (each.subset or several, each.group, each.model))), each)


def _is_mean(each: RateAsPublished) -> bool:
    measures = PROTOCOLS[each.protocol].measures
    return any(measure.is_mean_of_subsets for measure in measures if measure.name == each.measure)


def paper(each: RateAsPublished) -> str:
    """The paper's number, with a mark if it is of another model."""
    return "–" if each.paper is None else f"{each.paper.value:.1f}{'' if each.paper.is_same_model else _OTHER}"


def _in_order(results: EvaluationResults) -> list[RateAsPublished]:
    """By protocol, benchmark and measure as they are first met; then subsets before the whole, models as elsewhere."""
    models = [*results.tested, *results.baselines]
    met = list(dict.fromkeys((each.protocol, each.benchmark, each.measure) for each in results.as_published))

    def order(each: RateAsPublished) -> tuple[int, bool, str, str, int]:
        place = met.index((each.protocol, each.benchmark, each.measure))
        return place, each.part == "all", each.subset, each.group, models.index(each.model)

    return sorted(results.as_published, key=order)


def _head(rates: Iterable[RateAsPublished]) -> str:
    others = dict.fromkeys(each.judged_by.rpartition("/")[2] for each in rates if each.judged_by)
    return f"as published, but judged by {', '.join(others)}" if others else "as published"


def _notes(rates: Sequence[RateAsPublished], results: EvaluationResults) -> Iterator[str]:
    """What the numbers are of, and what the protocol's rule hides of each model's answers."""
    first, whole = rates[0], [each for each in rates if each.part == "all"]
    judge = next((each.judge for each in rates if each.judge), "")
    ours = next((each.ours.by for each in rates if each.ours.by), "")
    against = f", against {first.against}" if first.against else ""
    theirs = f" (the paper's judge: {first.papers_judge})" if first.judged_by else ""
    yield f"judged by {judge}{theirs}{against}; spavl's by {ours or 'no judge'}"
    yield from _of_papers(rates)
    for each in whole:
        hidden = [f"{number:,} {text}" for text, number in each.hidden.items()]
        hidden += [f"{each.unknown:,} without an answer or a reply"] if each.unknown else []
        if hidden:
            yield f"{each.model}: of {each.asked:,} answers {'; '.join(hidden)}"
    yield from _asked_otherwise(first.protocol, results)


def _of_papers(rates: Sequence[RateAsPublished]) -> Iterator[str]:
    """Whose the papers' numbers are."""
    sizes: dict[tuple[str, str, str], set[int]] = {}
    for each in rates:
        if each.paper:
            model = each.model if each.paper.is_same_model else ""
            sizes.setdefault((each.paper.model, each.paper.source, model), set()).add(each.paper.n)
    for (model, source, tested), n in sizes.items():
        whose = f"which {tested} is by its name" if tested else "which is not the tested model"
        numbers = ", ".join(f"{each:,}" for each in sorted(n))
        yield f"{'paper' if tested else _OTHER}: of {model}, {whose} (n = {numbers}; {source})"


def _asked_otherwise(protocol: str, results: EvaluationResults) -> Iterator[str]:
    theirs, config = PROTOCOLS[protocol], results.config
    if (theirs.temperature, theirs.max_tokens) != (config.temperature, config.max_tokens):
        yield (
            f"the paper's code asks at temperature {theirs.temperature:g}, at most {theirs.max_tokens:,} tokens; this "
            f"evaluation at {config.temperature:g}, at most {config.max_tokens:,}"
        )
    if config.samples > 1:
        yield f"of {config.samples:,} samples of each answer, the protocol gets the first, and spavl's rate is of all"


def _rate(rate: Estimate) -> str:
    value = f"{100 * rate.value:.1f}" if math.isfinite(rate.value) else "?"
    return f"{value} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"
