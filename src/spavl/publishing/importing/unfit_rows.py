"""Which rows of an imported data set cannot be used, and why."""

from spavl.publishing.importing.sources import ImportedRow

# Reject reason: an answer is a turn of a user, a tool, or another role than the assistant.
OTHERS_TURN = "not_by_assistant"


def why_unfit(row: ImportedRow) -> str | None:
    """The reject reason of a row that cannot be used; else None."""
    if not row.is_encodable:
        return "lone_surrogate"
    if len(row.images) != 1:
        return "no_image" if not row.images else "several_images"
    if row.other_speaker:
        return OTHERS_TURN
    if not (row.question or "").strip():
        return "no_single_question"
    if row.chosen is None and row.rejected is None:
        return None
    if not (row.chosen or "").strip() or not (row.rejected or "").strip():
        return "empty"
    return "same_text" if row.chosen == row.rejected else None
