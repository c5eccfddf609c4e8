from collections.abc import Mapping

from spavl.stages.notes import CanaryNotes, JsonEstimate, JsonRecord, StageNotes


class ContradictionRow(JsonRecord):
    """Questions that were meant alike, by what the guard says about them."""

    meant: str
    part: str
    questions: int
    harmful: int
    harmless: int
    unread: int
    not_asked: int
    contradicted: JsonEstimate


class QuestionVerdictsNotes(StageNotes):
    guard: str = ""
    contradictions: tuple[ContradictionRow, ...] = ()
    canaries: CanaryNotes | None = None


class VerdictsNotes(StageNotes):
    guard: str = ""
    labels: Mapping[str, int] = {}
    canaries: CanaryNotes | None = None
