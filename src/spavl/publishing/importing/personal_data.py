"""Personal data in the texts of an imported data set: counted, removed, or a reason to leave a row out."""

from collections import Counter
from collections.abc import Sequence
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
        texts, found = self._search_row([getattr(record, name) for name in names])
        if found and self._action == "drop":
            self._dropped += 1
            return None
        return replace(record, **dict(zip(names, texts, strict=True))) if found else record

    def texts(self, *texts: str) -> tuple[str, ...]:
        """Texts of one row that is never left out, such as an image's caption and license: `drop` redacts them."""
        return texts if self._action == "keep" else self._search_row(texts)[0]

    def facts(self, said: PublishedFacts) -> PublishedFacts:
        return replace(said, reasons=self.texts(*said.reasons)) if said.reasons else said

    def _search_row(self, texts: Sequence[str]) -> tuple[tuple[str, ...], Counter[str]]:
        """The texts of one row as they may be stored, and what was found in them, which is counted."""
        filtered = [filter_text(text) for text in texts]
        found = Counter[str]()
        for each in filtered:
            found += each.found
        self._rows += 1
        self._rows_with += bool(found)
        self._found += found
        return tuple(texts) if self._action == "count" else tuple(each.text for each in filtered), found

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
