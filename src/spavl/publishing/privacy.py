"""What a run looked for to protect persons, what it found and did, and how often the filters are wrong."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from spavl.data.dataset.config import SPEC as DATASET
from spavl.data.dataset.notes import DatasetNotes
from spavl.data.downloads.config import SPEC as DOWNLOADS
from spavl.data.downloads.notes import DownloadsNotes
from spavl.stages.notes import JsonRecord, PersonalDataNotes, RegionNotes
from spavl.statistics import wilson
from spavl.store import Manifest
from spavl.text.personal_data import KINDS

FACES, WORDS = "faces in images", "words in images"
_TEXTS = {
    "sourcing": "captions of the sources",
    "captions": "captions by the writer",
    "questions": "questions",
    "responses": "answers and their reasoning",
    "verdicts": "the guard's words",
    "dataset": "imported texts",
}
# The stages that search images. Images of an imported data set are searched as it is imported.
_SEARCHES_IMAGES: Mapping[str, Callable[[Manifest], DownloadsNotes | DatasetNotes]] = {
    DOWNLOADS.stage: DownloadsNotes.of,
    DATASET.stage: DatasetNotes.of,
}
# How an action is told after "found".
DONE = {
    "count": "kept as they are",
    "blur": "covered in the image",
    "redact": "replaced by a mark such as [email removed]",
    "drop": "left out",
}


class PrivacyRow(JsonRecord):
    """One kind of material that was searched, what was found in it, and what was done."""

    what: str
    action: str
    searched: int
    # Images or rows in which something was found, and those of them that were left out.
    with_finds: int
    dropped: int
    # Finds by kind.
    found: Mapping[str, int]

    def as_line(self) -> str:
        """The row as one line of a terminal."""
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in self.found.items())
        told = f"{self.what}: in {self.with_finds:,} of {self.searched:,}"
        if not self.with_finds:
            return told
        return f"{told}{f' ({kinds})' if kinds else ''}, {DONE[self.action]}"


class MeasuredRate(NamedTuple):
    """A rate of errors, measured on photographs and texts from elsewhere; docs/privacy.md says on which."""

    what: str
    hits: int
    n: int

    def __str__(self) -> str:
        rate = wilson(self.hits, self.n)
        return f"{self.what}: {self.hits} of {self.n:,} ({rate.value:.1%}, {rate.low:.1%} to {rate.high:.1%})"


# On photographs of packages, sorted by looking at them, at the default score.
FACE_RATES = (
    MeasuredRate("photographs of people without a find", 2, 156),
    MeasuredRate("photographs without people with one", 11, 566),
)
WORD_RATES = (
    MeasuredRate("photographs without personal data with a find", 0, 340),
    MeasuredRate("drawn signs missed, of which some were turned, tiny or broken over lines", 8, 27),
)
# On documents and captions of Debian packages, and on the examples of phonenumbers and python-stdnum.
TEXT_RATES = (
    MeasuredRate("captions with a false find", 0, 952),
    MeasuredRate("e-mail addresses missed", 3, 1854),
    MeasuredRate("finds of e-mail addresses that are none", 3, 100),
    MeasuredRate("phone numbers with a country code missed", 3, 489),
    MeasuredRate("others behind a word such as phone missed", 52, 489),
    MeasuredRate("others without such a word missed", 439, 489),
    MeasuredRate("ids behind a word for an id missed", 13, 42),
)


def privacy_rows(manifests: Iterable[Manifest]) -> tuple[PrivacyRow, ...]:
    return tuple(row for manifest in manifests for row in _rows_of(manifest))


def _rows_of(manifest: Manifest) -> Iterator[PrivacyRow]:
    if read_notes := _SEARCHES_IMAGES.get(manifest.stage):
        notes = read_notes(manifest)
        for what, kind, found in (
            (FACES, "face", notes.faces),
            (WORDS, "personal data", notes.personal_words),
        ):
            if found:
                yield _of_images(what, kind, found)
    if texts := manifest.notes.get("personal_data"):
        read = PersonalDataNotes.model_validate(texts)
        yield PrivacyRow(
            what=_TEXTS.get(manifest.stage, manifest.stage),
            action=read.action,
            searched=read.rows,
            with_finds=read.rows_with,
            dropped=read.dropped,
            found=read.found,
        )


def _of_images(what: str, kind: str, notes: RegionNotes) -> PrivacyRow:
    return PrivacyRow(
        what=what,
        action=notes.action,
        searched=notes.searched,
        with_finds=notes.images,
        dropped=notes.dropped,
        found={kind: notes.found} if notes.found else {},
    )


def privacy_lines(rows: Sequence[PrivacyRow]) -> Iterator[str]:
    """What was not looked for, how the rest was, and how often the filters are wrong."""
    searched = {row.what for row in rows}
    texts = searched & {_TEXTS["responses"], _TEXTS["dataset"]}
    for is_searched, what, setting in (
        (FACES in searched, "faces in the images", "downloads.faces"),
        (WORDS in searched, "personal data in words that the images show", "downloads.personal_words"),
        (bool(texts), "personal data in the texts", "privacy.texts"),
    ):
        if not is_searched:
            yield f"Not looked for: {what} (`{setting}`)."
    if FACES in searched:
        yield f"Faces were found by CenterFace. Measured errors: {_in_words(FACE_RATES)}."
    if WORDS in searched:
        yield f"Words in images were read by RapidOCR and then searched. Measured errors: {_in_words(WORD_RATES)}."
    if searched - {FACES}:
        kinds = ", ".join(KINDS)
        yield f"Personal data is found by rules and check digits ({kinds}). Measured errors: {_in_words(TEXT_RATES)}."
    if searched - {FACES, WORDS, _TEXTS["dataset"]}:
        yield "What the models wrote before it was filtered is in the ledger of the run, which is not published."
    yield (
        "Not looked for: names, voices, tattoos, number plates, birthdays, and whom a text describes without these. "
        "May be missed: faces smaller than 2 % of an image's longer side, small faces on their side or upside down, "
        "and parts of faces, such as a strip with both eyes. The URL of an image and the hash of the file there "
        "(`candidate_url`, `…_original`) lead to the image as it was found."
    )


def _in_words(rates: Sequence[MeasuredRate]) -> str:
    return "; ".join(map(str, rates))
