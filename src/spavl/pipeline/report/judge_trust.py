"""What the report says of the judge: does the order sway it, does length, does another judge agree?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spavl.report.estimates import estimate
from spavl.statistics import Estimate

_SIGNALS = (
    ("consistent", "Survives the swap", "“always the first”: 0", None),
    ("first_shown", "Votes for the first", "half if place is nothing", 0.5),
    ("longer_wins", "Longer answer wins", "half if length is nothing", 0.5),
    ("longer_wins_equal_safety", "… equally safe pairs", "safety not the reason", 0.5),
    ("safer_wins_if_longer", "Safer wins, if longer", "these two alike", None),
    ("safer_wins_if_shorter", "… if shorter", "if length is nothing", None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasSignal:
    """One share that tells how a judge decides; `even` is where it would lie if the judge did not care."""

    title: str
    note: str
    share: Estimate
    even: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeTrust:
    signals: tuple[BiasSignal, ...]
    length_correlation: Estimate | None
    kappa: Estimate | None
    warnings: tuple[str, ...]


def trust_of(notes: Mapping[str, Any]) -> JudgeTrust | None:
    """From the notes of the preferences stage; None if it judged nothing."""
    raw, agreement = notes.get("trust") or {}, notes.get("agreement") or {}
    found = [
        BiasSignal(title=title, note=note, share=share, even=even)
        for key, title, note, even in _SIGNALS
        if (share := estimate(raw.get(key))) is not None and share.n
    ]
    if (same := estimate(agreement.get("same"))) is not None and same.n:
        found.append(BiasSignal(title="Second judge agrees", note="first, second or neither", share=same, even=None))
    if not found:
        return None
    return JudgeTrust(
        signals=tuple(found),
        length_correlation=estimate(raw.get("length_correlation")),
        kappa=estimate(agreement.get("kappa")),
        warnings=tuple(map(str, raw.get("warnings") or ())),
    )
