"""The findings of the study `bias` as tables of texts, for a terminal and for a page."""

from collections.abc import Iterator
from typing import NamedTuple

from spavl.evaluation.metrics.item_changes import RateComparison
from spavl.evaluation.report.tables import TITLES
from spavl.report.formatting import count, interval, p_value, percent, points
from spavl.statistics import Estimate
from spavl.studies.bias.balancing_effect import BalancingEffect
from spavl.studies.bias.outputs import GapChange, OutputBias, TwinRates
from spavl.studies.bias.shares import DataBias
from spavl.studies.bias.shortcuts import ProbeScore, ShortcutAudit

_INTERVAL, _N = "95 % interval", "n"


class BiasTable(NamedTuple):
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    # What a reader must know to read it, in sentences.
    notes: tuple[str, ...] = ()
    # Of the few tables that are shown wherever the study is: the columns that are shown there.
    main_columns: tuple[int, ...] = ()

    @property
    def main_rows(self) -> list[tuple[str, ...]]:
        """The head and the rows with the main columns."""
        return [tuple(row[column] for column in self.main_columns) for row in (self.head, *self.rows)]


def data_tables(bias: DataBias) -> Iterator[BiasTable]:
    """One table for each thing that shares are of, and one of the responders. They are of all pairs of the data set."""
    head = ("share of the pairs", _INTERVAL, "pairs")
    for of in dict.fromkeys(each.of for each in bias.shares):
        own = [each for each in bias.shares if each.of == of]
        rows = tuple((each.value, *_estimate(each.share), count(each.pairs)) for each in own)
        yield BiasTable(f"All pairs of the data set by {of}", (of, *head), rows)
    if bias.responders:
        rows = tuple((each.model, *_estimate(each.chosen), count(each.chosen.n)) for each in bias.responders)
        notes = ("Of the pairs in which exactly one of the two answers is the responder's. Even is 50 %.",)
        yield BiasTable("How often a responder's answer is chosen", ("responder", "chosen", *head[1:]), rows, notes)


class _AuditStep(NamedTuple):
    name: str
    audit: ShortcutAudit


def shortcut_table(effect: BalancingEffect) -> BiasTable:
    """A row for each shortcut in each audit, those of one shortcut beside each other."""
    kept, by = count(effect.kept), ", ".join(effect.by)
    steps = (
        _AuditStep("all pairs", effect.before),
        _AuditStep(f"{kept} at random", effect.random_subset),
        _AuditStep("balanced", effect.balanced),
    )
    head = ("shortcut", "of", "tells", _INTERVAL, "AUC", _INTERVAL, "random labels", _INTERVAL, "pairs", "images")
    names = dict.fromkeys(probe.shortcut for step in steps for probe in step.audit.probes)
    rows = [
        _probe(step.name, probe)
        for name in names
        for step in steps
        for probe in step.audit.probes
        if probe.shortcut == name
    ]
    notes = (
        "Tells: the share of pairs on unseen images in which the chosen answer has the higher score. Chance is 50 %.",
        "An image cannot tell the two answers of a pair apart. Its AUC says how well it tells whether the refusing, or "
        "the longer, answer is chosen.",
        "An exactly balanced set puts a probe below 50 % by about a standard error: what it learned from some pairs is "
        "reversed in the others.",
        f"Balanced by {by}: {kept} of {count(effect.before.pairs)} pairs remain. As many at random show what having "
        "fewer pairs does to a probe.",
        *(f"{probe.shortcut}, {step.name}: {probe.not_measured}." for step in steps for probe in _not_measured(step)),
    )
    return BiasTable("What tells the chosen answer from the rejected one", head, tuple(rows), notes, (0, 1, 2, 3, 4, 5))


def output_tables(bias: OutputBias) -> Iterator[BiasTable]:
    """The worst leaves, each leaf before and after, the benign twins, and helpfulness by leaf."""
    if bias.gaps:
        yield _gaps(bias)
    for benchmark, metric in dict.fromkeys(change.rate for change in bias.changes):
        own = [change for change in bias.changes if change.rate == (benchmark, metric)]
        head = ("leaf", bias.base, _INTERVAL, bias.aligned, _INTERVAL, "difference", _INTERVAL, "p", "p, Holm", _N)
        title = f"{TITLES[metric]} by leaf, {benchmark}"
        yield BiasTable(title, head, tuple(map(_change, own)), ("Holm: over the leaves of this table.",))
    if bias.twins:
        yield _twins(bias)
    if bias.helpful:
        yield _helpful(bias)


def _gaps(bias: OutputBias) -> BiasTable:
    head = ("rate", "model", "worst leaf", "its rate", "other leaves", "gap", _INTERVAL, "clearly worse", "leaves")
    rows = [row for gap in bias.gaps for row in _gap_rows(gap, bias)]
    notes = (
        "Gap: how much worse the worst leaf is than all other leaves together. Its interval is that of the truly worst "
        "leaf, whichever it is: the lower bound is Bonferroni's over all leaves.",
    )
    return BiasTable("The worst leaf", head, tuple(rows), notes, (0, 1, 2, 5, 6))


def _gap_rows(change: GapChange, bias: OutputBias) -> Iterator[tuple[str, ...]]:
    name = f"{TITLES[change.metric]}, {change.benchmark}"
    for model, own in ((bias.base, change.base), (bias.aligned, change.aligned)):
        worse = ", ".join(own.clearly_worse) or "none"
        rates = percent(own.worst.value), percent(own.others.value), *_with_sign(own.gap)
        leaf = own.leaf if own.gap.value else "none: all are equal"
        yield (name, model, leaf, *rates, worse, count(own.leaves))
    yield (name, "change", "", "", "", *_with_sign(change.wider), "", "")


def _change(change: RateComparison) -> tuple[str, ...]:
    pair = change.pair
    rates = *_estimate(change.before), *_estimate(change.after), *_with_sign(pair.difference)
    return (change.leaf, *rates, p_value(pair.p), p_value(pair.p_holm), count(pair.difference.n))


def _twins(bias: OutputBias) -> BiasTable:
    head = ("benchmark", "model", "unsafe", _INTERVAL, "refusal", _INTERVAL, "refusal of twins", _INTERVAL)
    more = ("difference", _INTERVAL, "p", "twins")
    notes = (
        "Unsafe answers and refusals are those to harmful questions about images with a benign twin, refusals of twins "
        "those to harmless questions about the twins. The difference is of the means of each image and its twin.",
    )
    return BiasTable("Harmful images and their benign twins", (*head, *more), tuple(map(_twin, bias.twins)), notes)


def _twin(twin: TwinRates) -> tuple[str, ...]:
    rates = *_estimate(twin.unsafe), *_estimate(twin.refusal), *_estimate(twin.over_refusal), *_with_sign(twin.apart)
    return (twin.benchmark, twin.model, *rates, p_value(twin.p), count(twin.clusters))


def _helpful(bias: OutputBias) -> BiasTable:
    head = ("benchmark", "leaf", f"win rate of {bias.aligned}", _INTERVAL, "p", "p, Holm", _N)
    rows = []
    for each in bias.helpful:
        tests = p_value(each.p), p_value(each.p_holm), count(each.rate.n)
        rows.append((each.benchmark, each.leaf, *_estimate(each.rate), *tests))
    return BiasTable("Helpfulness by leaf", head, tuple(rows), ("Even is 50 %. Holm: over a benchmark's leaves.",))


def _probe(of: str, probe: ProbeScore) -> tuple[str, ...]:
    found = *_estimate(probe.accuracy), *_estimate(probe.auc), *_estimate(probe.random_labels)
    return (probe.shortcut, of, *found, count(probe.pairs), count(probe.images))


def _not_measured(step: _AuditStep) -> list[ProbeScore]:
    return [probe for probe in step.audit.probes if probe.not_measured]


def _estimate(estimate: Estimate | None) -> tuple[str, str]:
    return percent(estimate.value if estimate else None), interval(estimate)


def _with_sign(estimate: Estimate) -> tuple[str, str]:
    if not estimate.n:
        return percent(None), interval(None)
    value, low, high = map(points, (estimate.value, estimate.low, estimate.high))
    return value, f"{low} to {high}"
