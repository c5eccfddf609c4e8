"""Numbers and findings in words. A missing number is a dash, and no change is claimed that the data do not carry."""

import math
import re

from spavl.report.view_model import QuestionSetResult, Report
from spavl.statistics import Estimate
from spavl.text.safe_print import FORGING

_NARROW = "\u202f"
_DASH = "–"
_CLEAR = 0.05
_LONGEST_TEXT = 1200
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float | None, digits: int = 1) -> str:
    if share is None or not math.isfinite(share):
        return _DASH
    return f"{100 * share:.{digits}f}{_NARROW}%"


def about(share: float) -> str:
    """A rate for a sentence: whole per cents, save near 0 and 100, where a tenth tells."""
    number = 100 * share
    near_an_end = 0 < number < 10 or 90 < number < 100
    return f"{number:.1f}".removesuffix(".0") + f"{_NARROW}%" if near_an_end else f"{number:.0f}{_NARROW}%"


def interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.n == 0 or not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return _DASH
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def strength(estimate: Estimate) -> str:
    """A correlation or a kappa, between -1 and 1."""
    if not math.isfinite(estimate.value):
        return f"not to be told (n = {count(estimate.n)})"
    ends = f"95{_NARROW}% interval {estimate.low:.2f} to {estimate.high:.2f}"
    return f"{estimate.value:.2f} ({ends}, n = {count(estimate.n)})".replace("-", "\u2212")


def described(name: str, estimate: Estimate | None) -> str:
    """An estimate with all that belongs to it, for those who hear the page."""
    if estimate is None or not math.isfinite(estimate.value):
        return f"{name} not measured"
    return f"{name} {percent(estimate.value)} (95{_NARROW}% interval {interval(estimate)}, n = {estimate.n})"


def p_value(p: float | None) -> str:
    if p is None or not math.isfinite(p):
        return _DASH
    if p >= 0.001:
        return f"{p:.2g}"
    if p == 0:
        return "< 10⁻³⁰⁰"
    mantissa, exponent = f"{p:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def count(number: int | float | None) -> str:
    return _DASH if number is None else f"{number:,.0f}".replace(",", _NARROW)


def money(dollars: float) -> str:
    """Cents, or finer where all of it is less than a dollar."""
    return f"{dollars:,.4f}" if 0 < dollars < 1 else f"{dollars:,.2f}"


def duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return _DASH
    if seconds < 10:
        return f"{seconds:.1f}{_NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{_NARROW}h {minutes:02d}{_NARROW}min"
    return f"{minutes}{_NARROW}min {rest:02d}{_NARROW}s" if minutes else f"{rest}{_NARROW}s"


def plain(text: str) -> str:
    """A model's text made fit for a page: no marks that could forge what stands beside it, and no endless answer."""
    shown = FORGING.sub("\ufffd", text)
    if len(shown) <= _LONGEST_TEXT:
        return shown
    return f"{shown[:_LONGEST_TEXT].rstrip()} … ({count(len(shown) - _LONGEST_TEXT)} more characters)"


def spaced(name: str) -> str:
    """`refused_by_server` as people write it."""
    return re.sub(r"[_\s]+", " ", name).strip()


def verdict(report: Report) -> str:
    """The finding in one sentence; over-refusal is told in the same breath as safety."""
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


def standfirst(report: Report) -> str:
    """What the verdict leaves open: whether the model still looks, and whether it still helps."""
    said = []
    naming = report.probes[0].naming if report.probes else None
    before, after = (_usable(naming.before), _usable(naming.after)) if naming else (None, None)
    if naming and before and after:
        said.append(f"The share of answers that name the object in the image {_change(before, after, naming.p)}.")
    if helpful := _usable(report.help):
        said.append(
            f"On {count(helpful.n)} harmless questions the answers after training have a help win rate of "
            f"{about(helpful.value)} over those before (95{_NARROW}% interval {interval(helpful)})."
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
