"""The report's checks of the judge: bias by order, bias by length, agreement with a second judge."""

from dataclasses import dataclass

from spavl.data.preferences.notes import JudgeBiasNotes, PreferencesNotes
from spavl.statistics import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasSignal:
    """A share that measures a judge's bias; `even` is its value for an unbiased judge, None if there is none."""

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


def trust_of(notes: PreferencesNotes) -> JudgeTrust | None:
    """From the notes of the preferences stage; None if it judged nothing."""
    bias, agreement = notes.trust or JudgeBiasNotes(), notes.agreement
    shares = (
        ("Survives the swap", "“always the first”: 0", None, bias.consistent),
        ("Votes for the first", "half if place is nothing", 0.5, bias.first_shown),
        ("Longer answer wins", "half if length is nothing", 0.5, bias.longer_wins),
        ("… equally safe pairs", "safety not the reason", 0.5, bias.longer_wins_equal_safety),
        ("Safer wins, if longer", "these two alike", None, bias.safer_wins_if_longer),
        ("… if shorter", "if length is nothing", None, bias.safer_wins_if_shorter),
        ("Second judge agrees", "first, second or neither", None, agreement.same if agreement else None),
    )
    signals = tuple(
        BiasSignal(title=title, note=note, share=share, even=even)
        for title, note, even, share in shares
        if share is not None and share.n
    )
    if not signals:
        return None
    return JudgeTrust(
        signals=signals,
        length_correlation=bias.length_correlation,
        kappa=agreement.kappa if agreement else None,
        warnings=bias.warnings,
    )
