"""Formats numbers and texts for reports. A missing number is a dash."""

import math
import re

from spavl.statistics import Estimate
from spavl.text.safe_print import BAD, FORGING, line

NARROW = "\u202f"
_DASH = "–"
_LONGEST_TEXT = 1200
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float | None, digits: int = 1) -> str:
    if share is None or not math.isfinite(share):
        return _DASH
    return f"{100 * share:.{digits}f}{NARROW}%"


def about(share: float) -> str:
    """A rate for a sentence: whole percent, with one decimal below 10 % and above 90 %."""
    if not math.isfinite(share):
        return "no rate"
    number = 100 * share
    near_an_end = 0 < number < 10 or 90 < number < 100
    return f"{number:.1f}".removesuffix(".0") + f"{NARROW}%" if near_an_end else f"{number:.0f}{NARROW}%"


def with_interval(estimate: Estimate) -> str:
    """A rate with its interval and n, for a sentence."""
    ends = f"{interval(estimate)}, " if math.isfinite(estimate.value) else ""
    return f"{about(estimate.value)} ({ends}n = {count(estimate.n)})"


def interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.n == 0 or not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return _DASH
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}"


def strength(estimate: Estimate) -> str:
    """A correlation or a kappa, between -1 and 1."""
    if not math.isfinite(estimate.value):
        return f"not identified (n = {count(estimate.n)})"
    ends = f"95{NARROW}% interval {estimate.low:.2f} to {estimate.high:.2f}"
    return f"{estimate.value:.2f} ({ends}, n = {count(estimate.n)})".replace("-", "\u2212")


def estimate_in_words(name: str, estimate: Estimate | None) -> str:
    """An estimate with its interval and n in words, for screen readers."""
    if estimate is None or not math.isfinite(estimate.value):
        return f"{name} not measured"
    return f"{name} {percent(estimate.value)} (95{NARROW}% interval {interval(estimate)}, n = {estimate.n})"


def p_value(p: float | None) -> str:
    if p is None or not math.isfinite(p):
        return _DASH
    if p >= 0.001:
        return f"{p:.2g}"
    if p == 0:
        return "< 10⁻³⁰⁰"
    mantissa, exponent = f"{p:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def points(share: float) -> str:
    """A difference of two rates in percentage points; one that rounds to nothing has no sign."""
    if not math.isfinite(share):
        return "–"
    text = f"{100 * share:+.1f}"
    return "0.0" if float(text) == 0 else text


def count(number: int | float | None) -> str:
    return _DASH if number is None else f"{number:,.0f}".replace(",", NARROW)


def money(dollars: float) -> str:
    """Dollars with two decimals, or four below one dollar."""
    return f"{dollars:,.4f}" if 0 < dollars < 1 else f"{dollars:,.2f}"


def duration(seconds: float | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return _DASH
    if seconds < 10:
        return f"{seconds:.1f}{NARROW}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{NARROW}h {minutes:02d}{NARROW}min"
    return f"{minutes}{NARROW}min {rest:02d}{NARROW}s" if minutes else f"{rest}{NARROW}s"


def harmless(value: object) -> object:
    """A value for a page without characters that could fake the content around it. What is made here stays as it is."""
    return FORGING.sub(BAD, value) if type(value) is str else value


def plain(text: str) -> str:
    """A model's text for a page: shortened, and without characters that could fake the content around it."""
    shown = FORGING.sub(BAD, text)
    if len(shown) <= _LONGEST_TEXT:
        return shown
    return f"{shown[:_LONGEST_TEXT].rstrip()} … ({count(len(shown) - _LONGEST_TEXT)} more characters)"


def name_in_words(name: str) -> str:
    """A name with spaces for underscores: `refused_by_server` becomes `refused by server`."""
    return re.sub(r"[_\s]+", " ", name).strip()


def in_table(text: str) -> str:
    """A text as a cell of a table in Markdown: no row, tag, code, link or image of its own."""
    shown = line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
    return shown.replace("](", "]\\(")
