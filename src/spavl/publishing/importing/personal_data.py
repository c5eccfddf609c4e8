"""Personal data in the texts of an imported data set: counted, removed, or a reason to leave a row out."""

from collections import Counter
from dataclasses import replace
from typing import TypeVar

from spavl.records import PublishedFacts, Record
from spavl.stages.notes import PersonalDataNotes, TextAction
from spavl.stages.privacy import filter_text
from spavl.text.personal_data import require_libraries

R = TypeVar("R", bound=Record)


class ImportedTexts:
    """Filters records as they are made from rows, and counts what was found."""

    def __init__(self, action: TextAction) -> None:
        if action != "keep":
            require_libraries(f"--personal-data {action}")
        self._action = action
        self._rows = self._rows_with = self._dropped = 0
        self._found: Counter[str] = Counter()

    def clean(self, record: R, *names: str) -> R | None:
        """The record with these fields filtered; None if it has to be left out."""
        if self._action == "keep":
            return record
        filtered = {name: filter_text(getattr(record, name)) for name in names}
        found = Counter[str]()
        for each in filtered.values():
            found += each.found
        self._rows += 1
        self._rows_with += bool(found)
        self._found += found
        if not found or self._action == "count":
            return record
        if self._action == "drop":
            self._dropped += 1
            return None
        changed = {name: each.text for name, each in filtered.items() if each.found}
        return replace(record, **changed)

    def text(self, text: str) -> str:
        """A text for which no row is left out, such as a caption."""
        return filter_text(text).text if self._action in ("redact", "drop") else text

    def facts(self, said: PublishedFacts) -> PublishedFacts:
        return replace(said, reasons=tuple(map(self.text, said.reasons)))

    def notes(self) -> PersonalDataNotes | None:
        if self._action == "keep":
            return None
        return PersonalDataNotes(
            action=self._action,
            rows=self._rows,
            rows_with=self._rows_with,
            dropped=self._dropped,
            found=dict(sorted(self._found.items())),
        )
