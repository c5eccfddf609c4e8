"""Personal data in the texts that a stage writes: counted, removed, or a reason to reject a row."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import Field

from spavl.config import Settings
from spavl.records import Record, Reject
from spavl.stages.notes import PersonalDataNotes, TextAction
from spavl.stages.spec import StageSpec
from spavl.text.personal_data import VERSION, find_personal_data, redact, require_libraries

R = TypeVar("R", bound=Record)

PERSONAL_DATA = "personal_data"
SETTING = "privacy.texts"
# Fields that hold the id of another row of the same input; a row's id changes with its text.
_REFERENCES = ("twin_of", "neighbour_of")
# Bounds the time of texts that are made to need one more each time.
_ROUNDS = 8


class PrivacyConfig(Settings):
    texts: TextAction = Field(
        "keep",
        description="personal data in captions, questions and answers: keep: not looked for, count: kept and counted, "
        "redact: replaced by [email removed], [phone removed], ..., drop: the question or answer is rejected",
    )

    def check(self) -> None:
        """Raise MissingExtra if the libraries are missing that the settings need."""
        if self.texts != "keep":
            require_libraries(f"{SETTING} = {self.texts!r}")

    def depends_on(self, spec: StageSpec[Any]) -> list[object]:
        """What the rows of a stage depend on beside its own settings; nothing if no text is filtered."""
        return [[self.texts, VERSION, spec.texts]] if spec.texts and self.texts != "keep" else []

    def without_finds(self, text: str) -> str:
        """A text as a message, a log or a card may show it."""
        return filter_text(text).text if self.texts in ("redact", "drop") else text


KEEP_TEXTS = PrivacyConfig()


class FilteredText(NamedTuple):
    text: str
    found: Counter[str]


def filter_text(text: str) -> FilteredText:
    """The text without its personal data, and the number of finds by kind.

    A removed value may bring a number near a word such as "passport", so what is left is searched again.
    """
    found = Counter[str]()
    for _ in range(_ROUNDS):
        if not (finds := find_personal_data(text)):
            break
        text = redact(text, finds)
        found.update(find.kind for find in finds)
    return FilteredText(text, found)


def reject_personal(parent_id: str, found: Mapping[str, int]) -> Reject:
    """A reject that says what kinds were found, and never the values."""
    return Reject(
        parent_id=parent_id,
        reason=PERSONAL_DATA,
        detail=", ".join(f"{kind} {number}" for kind, number in sorted(found.items())),
    )


class FilteredRows(NamedTuple, Generic[R]):
    """The rows and rejects of one input as they may be stored, and what was found; None if nothing was looked for."""

    rows: Sequence[R]
    rejects: Sequence[Reject]
    found: PersonalDataNotes | None = None


def filter_rows(
    config: PrivacyConfig, spec: StageSpec[R], parent_id: str, rows: Sequence[R], rejects: Sequence[Reject]
) -> FilteredRows[R]:
    if not spec.texts or config.texts == "keep":
        return FilteredRows(rows, rejects)
    removes = config.texts in ("redact", "drop")
    kept: list[R] = []
    refused = [replace(each, detail=filter_text(each.detail).text) for each in rejects] if removes else [*rejects]
    total, with_finds = Counter[str](), 0
    # The new id of each row; None if it is rejected, and so are the rows that refer to it.
    ids: dict[str, str | None] = {}
    for row in rows:
        filtered = {name: filter_text(getattr(row, name)) for name in spec.texts}
        found = Counter[str]()
        for each in filtered.values():
            found += each.found
        total += found
        with_finds += bool(found)
        if not removes:
            kept.append(row)
            continue
        references = _references(row, ids)
        if None in references.values() or (found and config.texts == "drop" and not spec.keeps_rows):
            ids[row.id] = None
            with_finds += not found
            refused.append(reject_personal(parent_id, found))
            continue
        changed: dict[str, Any] = {name: each.text for name, each in filtered.items() if each.found}
        clean = replace(row, **changed, **references) if changed or references else row
        ids[row.id] = clean.id
        kept.append(clean)
    return FilteredRows(kept, refused, _notes(config, len(rows), with_finds, len(rows) - len(kept), total))


def _references(row: Record, ids: Mapping[str, str | None]) -> dict[str, str | None]:
    """The fields of a row that refer to another row of the input, with that row's new id."""
    named = {name: getattr(row, name, None) for name in _REFERENCES}
    return {name: ids[value] for name, value in named.items() if value and ids.get(value, value) != value}


def personal_data_notes(
    config: PrivacyConfig, spec: StageSpec[Any], told: Iterable[Mapping[str, Any]]
) -> PersonalDataNotes | None:
    """The sum of what was found in each input, as the journal holds it; it is the same after an interruption."""
    if not spec.texts or config.texts == "keep":
        return None
    found, rows, rows_with, dropped = Counter[str](), 0, 0, 0
    for each in map(PersonalDataNotes.model_validate, told):
        found.update(each.found)
        rows, rows_with, dropped = rows + each.rows, rows_with + each.rows_with, dropped + each.dropped
    return _notes(config, rows, rows_with, dropped, found)


def _notes(
    config: PrivacyConfig, rows: int, rows_with: int, dropped: int, found: Mapping[str, int]
) -> PersonalDataNotes:
    kinds = dict(sorted(found.items()))
    return PersonalDataNotes(action=config.texts, rows=rows, rows_with=rows_with, dropped=dropped, found=kinds)
