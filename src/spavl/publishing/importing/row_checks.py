"""Which rows of an external data set are imported, and what to type for those that are not."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from spavl.data.dataset.audit import TRAINING_SPLITS
from spavl.errors import ConfigError
from spavl.publishing.importing.sources import ImportedRow

# Reject reason: an answer is a turn of a user, a tool, or another role than the assistant.
OTHERS_TURN = "not_by_assistant"
# Reject reason: an answer that its data set calls a bad one, as in sets of single answers for KTO.
UNWANTED = "unwanted_answer"
_HOW_TO_USE = {
    # Training uses the question without a system prompt, so the model would learn answers to a prompt that it never
    # sees.
    "system_prompt": "rows with a system prompt: spavl data import --drop-system-prompts brings them in without it",
    "one_answer": "rows with one answer: spavl train sft trains on them; pairs need a rejected answer, too",
}


class RowsRead(NamedTuple):
    """Rows that are imported, and by default are rejected."""

    # Rows with a system prompt, without it.
    drop_system: bool = False
    # Rows with one answer, which supervised fine-tuning needs; their rejected answer is empty.
    one_answer: bool = False


PAIRS = RowsRead()


def reject_reason(row: ImportedRow, reads: RowsRead) -> str | None:
    """The reject reason of a row that cannot be used; else None."""
    if not row.is_encodable:
        return "lone_surrogate"
    if len(row.images) != 1:
        return "no_image" if not row.images else "several_images"
    if row.other_speaker:
        return OTHERS_TURN
    if not (row.question or "").strip():
        return "no_single_question"
    is_test = row.chosen is None and row.rejected is None and row.split not in TRAINING_SPLITS
    return (None if is_test else _fault_of_answers(row, reads)) or (
        "system_prompt" if row.system and not reads.drop_system else None
    )


def _fault_of_answers(row: ImportedRow, reads: RowsRead) -> str | None:
    if not (row.chosen or "").strip():
        return "empty"
    if row.rejected is None and row.more.get("label") is False:
        return UNWANTED
    if reads.one_answer:
        return None
    if row.rejected is None:
        return "one_answer"
    if not row.rejected.strip():
        return "empty"
    return "same_text" if row.chosen == row.rejected else None


def how_to_use(rejects: Mapping[str, int]) -> Iterator[str]:
    """What to type for rows that were left out."""
    yield from (then for reason, then in _HOW_TO_USE.items() if reason in rejects)


def nothing_left(rejects: Mapping[str, int], where: str) -> ConfigError:
    """The error for a data set of which every row is left out."""
    if not rejects:
        return ConfigError("this data set has no rows", where=where, then="look at its files; write the rows into them")
    told = ", ".join(f"{number} {reason}" for reason, number in rejects.items())
    then = next(how_to_use(rejects), "look at these rows; what is left out is counted by reason")
    return ConfigError(f"every row is left out: {told}", where=where, then=then)
