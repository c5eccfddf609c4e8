"""The rows of an external data set as records."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from spavl.data.dataset.published import IMAGE_NAME
from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.inspect_image import RefusedImage
from spavl.data.downloads.notes import REASONS
from spavl.publishing.importing.classes import UNKNOWN, ClassMapping
from spavl.publishing.importing.looks import ImageImporter, ImportedImage
from spavl.publishing.importing.meta import SpaVlMeta
from spavl.publishing.importing.personal_data import ImportedTexts
from spavl.publishing.importing.published_facts import facts_of
from spavl.publishing.importing.row_checks import OTHERS_TURN, RowsRead, reject_reason
from spavl.publishing.importing.sources import ImportedRow
from spavl.publishing.importing.tidied import literal_or_none, without_stray_end
from spavl.records import (
    Category,
    Contrast,
    Image,
    PublishedFacts,
    Question,
    QuestionKind,
    Reject,
    Sample,
    Split,
    content_hash,
)
from spavl.stages.notes import RegionNotes
from spavl.stages.privacy import PERSONAL_DATA
from spavl.store import RunFolder

_CLASSES = ("class1", "class2", "class3")
_VALIDATION_SHARE = 0.07


class ImportedData:
    """The rows of a data set as records. Samples are streamed; everything else is smaller and kept in memory."""

    def __init__(
        self,
        run: RunFolder,
        name: str,
        meta: SpaVlMeta,
        splits_itself: bool,
        reads: RowsRead,
        texts: ImportedTexts,
        images: DownloadsConfig,
    ) -> None:
        self._texts = texts
        self._name, self._meta, self._splits_itself = name, meta, splits_itself
        self._reads = reads
        # The dropped system prompts, with the number of rows of each.
        self.dropped_system: Counter[str] = Counter()
        # The number of pairs and test questions whose image was between words of the question.
        self.amid = 0
        self._classes = ClassMapping()
        self._seen: set[str] = set()
        self._looks = ImageImporter(run.blobs.put, images)
        self.images: dict[tuple[str, Split], Image] = {}
        self.questions: dict[str, Question] = {}
        self.published: list[PublishedFacts] = []
        self.rejects: list[Reject] = []

    def close(self) -> None:
        self._looks.close()

    def categories(self) -> list[Category]:
        return self._classes.all()

    def samples(self, rows: Iterable[ImportedRow]) -> Iterator[Sample]:
        """Yield the pairs without duplicates. Test questions are collected in `questions`."""
        for number, (row, look) in enumerate(self._looks.beside(rows, lambda row: not self._against(row))):
            if reason := self._against(row):
                spoken = f", one of the answers is a turn of {row.other_speaker}" if reason == OTHERS_TURN else ""
                self._reject(number, reason, spoken)
                continue
            if isinstance(look, RefusedImage):
                self._reject_image(number, look)
                continue
            image = self._image(row, look)
            if row.chosen is None and row.rejected is None:
                self._add_question(number, row, image)
            elif sample := self._sample(number, row, image):
                self.dropped_system.update([row.system] if row.system else [])
                self.amid += row.is_amid
                yield sample

    def _sample(self, number: int, row: ImportedRow, image: Image) -> Sample | None:
        fact = self._meta.fact(str(row.more.get("image_name")), row.question or "")
        texts = (row.question, row.chosen, row.rejected)
        question, chosen, rejected = (without_stray_end(text or "") for text in texts)
        said_by = [_cell_text(row.more, f"{side}_model") or UNKNOWN for side in ("chosen", "rejected")]
        sample = Sample(
            split=image.split,
            leaf=image.leaf,
            blob=image.blob,
            image_id=image.id,
            question_id=_question_id(image.id, question),
            preference_id="",
            kind=fact.kind if fact else literal_or_none(row.more.get("kind"), QuestionKind) or "unknown",
            harmful=harmful if isinstance(harmful := row.more.get("harmful"), bool) else None,
            contrast=literal_or_none(row.more.get("contrast"), Contrast) or "unknown",
            question=question,
            chosen=chosen,
            rejected=rejected,
            chosen_model=fact.model_of(row.chosen or "") if fact else said_by[0],
            rejected_model=fact.model_of(row.rejected or "") if fact else said_by[1],
        )
        if sample.id in self._seen:
            self._reject(number, "duplicate")
            return None
        self._seen.add(sample.id)
        clean = self._clean_sample(number, sample)
        if clean is None:
            return None
        said = self._texts.facts(facts_of(clean, fact, row))
        if said.reasons or said.chosen_label or said.rejected_label:
            self.published.append(said)
        return clean

    def _clean_sample(self, number: int, sample: Sample) -> Sample | None:
        """The sample as it may be stored; None if it is left out, too because it equals an earlier one by now."""
        named = ("question", "chosen", "rejected", "chosen_model", "rejected_model")
        clean = self._texts.clean(sample, *named)
        if clean is None:
            self._reject(number, PERSONAL_DATA)
            return None
        if clean == sample:
            return clean
        clean = replace(clean, question_id=_question_id(clean.image_id, clean.question))
        if clean.id in self._seen:
            self._reject(number, "duplicate")
            return None
        self._seen.add(clean.id)
        return clean

    def without(self, leaking: dict[str, str], samples: Iterable[Sample]) -> Iterator[Sample]:
        for sample in samples:
            if reason := leaking.get(sample.image_id) or leaking.get(sample.question_id):
                self.rejects.append(Reject(parent_id=sample.id, reason=reason, detail=self._name))
            else:
                yield sample

    def _reject(self, number: int, reason: str, more: str = "") -> None:
        self.rejects.append(Reject(parent_id=f"row {number}", reason=reason, detail=self._name + more))

    def _reject_image(self, number: int, look: RefusedImage) -> None:
        if look.reason in REASONS.values():
            self._reject(number, look.reason, ", in the image")
        else:
            self._reject(number, "undecodable", f", {look.reason.replace('_', ' ')}")

    def searched_images(self) -> dict[str, RegionNotes]:
        return self._looks.notes()

    def _against(self, row: ImportedRow) -> str | None:
        return reject_reason(row, self._reads)

    def _image(self, row: ImportedRow, look: ImportedImage) -> Image:
        split = row.split
        if split == "train" and not self._splits_itself:
            split = "validation" if _luck(look.blob) + _VALIDATION_SHARE >= 1 else "train"
        if (look.blob, split) not in self.images:
            self.images[look.blob, split] = self._new_image(row, look, split)
        return self.images[look.blob, split]

    def _new_image(self, row: ImportedRow, look: ImportedImage, split: Split) -> Image:
        name = _cell_text(row.more, "image_name")
        known = self._meta.images.get(name, {})
        raw = [_cell_text(row.more, key) or _cell_text(known, key) for key in _CLASSES]
        said = known.get("gemini_caption") or known.get("caption_laion") or row.more.get("image_caption") or ""
        caption, license_, *raw = self._texts.texts(str(said), str(row.more.get("image_license") or UNKNOWN), *raw)
        category = self._classes.leaf(tuple(raw))
        return Image(
            category_id=category.id,
            leaf=category.leaf,
            candidate_id="",
            blob=look.blob,
            width=look.width,
            height=look.height,
            phash=look.phash,
            source=str(known.get("url") or row.more.get("image_source") or f"{self._name}/{name}"),
            license=license_,
            caption=caption,
            subject=None,
            harmful=True,
            decisions=(f"{IMAGE_NAME}{name}",) if name else (),
            twin_of=None,
            split=split,
        )

    def _add_question(self, number: int, row: ImportedRow, image: Image) -> None:
        question = Question(
            image_id=image.id,
            kind="unknown",
            text=without_stray_end(row.question or ""),
            language=UNKNOWN,
            harmful=bool(row.harmful),
            modality=None,
            about_leaf=None,
            twin_of=None,
            neighbour_of=None,
            fallback=False,
            writer=UNKNOWN,
            call="",
            tries=0,
        )
        if question.id in self._seen:
            self._reject(number, "duplicate")
            return
        self._seen.add(question.id)
        clean = self._texts.clean(question, "text")
        if clean is None:
            self._reject(number, PERSONAL_DATA)
        elif clean.id in self.questions:
            self._reject(number, "duplicate")
        else:
            self.amid += row.is_amid
            self.questions[clean.id] = clean
            self._seen.add(clean.id)


def _question_id(image_id: str, question: str) -> str:
    return content_hash(["Question", image_id, question])[:32]


def _luck(blob: str) -> float:
    """A number from 0 to 1 computed from the hash of an image, so that it is the same in every import."""
    return int(blob[-8:], 16) / 16**8


def _cell_text(cells: Mapping[str, Any], name: str) -> str:
    """The text of a cell; empty if the cell is. Classes and models may be numbers, and the first of them is 0."""
    value = cells.get(name)
    return "" if value is None or value != value else str(value)
