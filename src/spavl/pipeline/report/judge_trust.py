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
        ("Same winner in both orders", "0 if always the first wins", None, bias.consistent),
        ("Votes for the first", "half without position bias", 0.5, bias.first_shown),
        ("Longer answer wins", "half without length bias", 0.5, bias.longer_wins),
        ("… equally safe pairs", "safety is not the reason", 0.5, bias.longer_wins_equal_safety),
        ("Safer wins, if longer", "as often if shorter", None, bias.safer_wins_if_longer),
        ("… if shorter", "as often if longer", None, bias.safer_wins_if_shorter),
        ("Second judge agrees", "on first, second or neither", None, agreement.same if agreement else None),
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
