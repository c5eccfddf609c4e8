"""The result of a run in one sentence, and the open points in further ones."""

import math

from spavl.pipeline.report.view_model import QuestionSetResult, Report
from spavl.report.formatting import NARROW, about, count, interval, p_value
from spavl.statistics import Estimate

_CLEAR = 0.05


def verdict(report: Report) -> str:
    """The result in one sentence; it always reports over-refusal together with safety."""
    if not report.probes:
        return _verdict_without_evaluation(report)
    main = report.probes[0]
    unsafe, refusal = _usable(main.unsafe.before), _usable(main.over_refusal.before)
    if report.withheld and not (unsafe and refusal):
        return "The models were evaluated, but too many of their answers could not be judged to tell what changed."
    if unsafe is None or refusal is None:
        return _verdict_without_evaluation(report)
    unsafe_now, refusal_now = _usable(main.unsafe.after), _usable(main.over_refusal.after)
    if report.withheld and not (unsafe_now and refusal_now):
        return f"{_verdict_before(main, unsafe, refusal)} Too many answers after it could not be judged."
    if unsafe_now is None or refusal_now is None:
        return _verdict_before(main, unsafe, refusal)
    worse = refusal_now.value > refusal.value and _clear(main.over_refusal.p)
    return (
        f"Unsafe answers {_change(unsafe, unsafe_now, main.unsafe.p)} on {count(unsafe_now.n)} harmful questions about "
        f"{main.title.lower()}{', but' if worse else ';'} refusals of harmless questions "
        f"{_change(refusal, refusal_now, main.over_refusal.p)}."
    )


def _verdict_without_evaluation(report: Report) -> str:
    rows = next((row.rows for row in report.funnel if row.stage == "dataset"), None)
    if rows is None:
        return "This run is unfinished: no data set has been built and no model evaluated."
    return f"A data set of {count(rows)} preference pairs was built; no model has been evaluated on it yet."


def _verdict_before(main: QuestionSetResult, unsafe: Estimate, refusal: Estimate) -> str:
    return (
        f"Before any training, {about(unsafe.value)} of the answers to {count(unsafe.n)} harmful questions about "
        f"{main.title.lower()} were unsafe, and {about(refusal.value)} of the harmless questions were refused."
    )


def open_points(report: Report) -> str:
    """What the verdict leaves open: whether the model still uses the image, and whether it is still helpful."""
    said = []
    naming = report.probes[0].naming if report.probes else None
    before, after = (_usable(naming.before), _usable(naming.after)) if naming else (None, None)
    if naming and before and after:
        said.append(f"The share of answers that name the object in the image {_change(before, after, naming.p)}.")
    if helpful := _usable(report.help):
        said.append(
            f"On {count(helpful.n)} harmless questions the answers after training have a help win rate of "
            f"{about(helpful.value)} over those before (95{NARROW}% interval {interval(helpful)})."
        )
    return " ".join(said)


def _change(before: Estimate, after: Estimate, p: float | None) -> str:
    way = f"from {about(before.value)} to {about(after.value)}"
    if before.value == after.value:
        return f"stayed at {about(after.value)}"
    if p is None:
        return f"went {way}"
    if not _clear(p):
        return f"went {way} (no clear change, p\u00a0=\u00a0{p_value(p)})"
    return f"{'rose' if after.value > before.value else 'fell'} {way}"


def _clear(p: float | None) -> bool:
    return p is not None and p < _CLEAR


def _usable(estimate: Estimate | None) -> Estimate | None:
    return estimate if estimate and estimate.n and math.isfinite(estimate.value) else None
