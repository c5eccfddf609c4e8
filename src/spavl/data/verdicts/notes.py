from collections.abc import Mapping

from spavl.stages.notes import CanaryNotes, JsonEstimate, JsonRecord, StageNotes


class ContradictionRow(JsonRecord):
    """Counts of the guard's labels over questions with the same intended label."""

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
