"""Dose-response curves: how a rate changes with the number of pairs that a model was trained on."""

from spavl.statistics.dose_response.curve import (
    DRAWS,
    WORTH,
    DoseResponse,
    DoublingEffect,
    PairsUntil,
    dose_response,
    effect_of_doubling,
    fit_dose_response,
    pairs_until,
    rates_at,
)
from spavl.statistics.dose_response.forms import FORMS
from spavl.statistics.dose_response.observations import DoseGroup, DoseObservation, DoseTable, dose_table
from spavl.statistics.dose_response.selection import FormFit

__all__ = [
    "DRAWS",
    "FORMS",
    "WORTH",
    "DoseGroup",
    "DoseObservation",
    "DoseResponse",
    "DoseTable",
    "DoublingEffect",
    "FormFit",
    "PairsUntil",
    "dose_response",
    "dose_table",
    "effect_of_doubling",
    "fit_dose_response",
    "pairs_until",
    "rates_at",
]
