from collections.abc import Mapping
from typing import ClassVar

from spavl.stages.notes import CanaryNotes, JsonEstimate, JsonRecord, StageNotes


class JudgeBiasNotes(JsonRecord):
    """Rates that show how the judge decides. Each is explained at `JudgeBias`."""

    consistent: JsonEstimate | None = None
    first_shown: JsonEstimate | None = None
    longer_wins: JsonEstimate | None = None
    longer_wins_equal_safety: JsonEstimate | None = None
    safer_wins_if_longer: JsonEstimate | None = None
    safer_wins_if_shorter: JsonEstimate | None = None
    swayed_by_length: JsonEstimate | None = None
    length_correlation: JsonEstimate | None = None
    warnings: tuple[str, ...] = ()


class AgreementNotes(JsonRecord):
    """Agreement of the second judge with the first: the rate of equal outcomes, and Cohen's kappa."""

    same: JsonEstimate
    kappa: JsonEstimate


class PreferencesNotes(StageNotes):
    written_as_null: ClassVar[tuple[str, ...]] = ("second_judge",)

    judge: str = ""
    second_judge: str | None = None
    outcomes: Mapping[str, int] = {}
    # Preferences whose winner was changed by the repair strategy.
    repaired: int = 0
    trust: JudgeBiasNotes | None = None
    canaries: CanaryNotes | None = None
    agreement: AgreementNotes | None = None
