"""Makes a run from an external data set; its stages up to the data set count as finished."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from spavl.data.dataset.audit import TRAINING_SPLITS, AuditedQuestion, Leak, LeakAudit, find_leaks
from spavl.data.dataset.config import DatasetConfig
from spavl.data.dataset.files import write_files
from spavl.data.dataset.notes import DroppedPrompts, ImportNotes
from spavl.data.dataset.published import IMAGE_NAME
from spavl.engine.details import open_details
from spavl.errors import ConfigError
from spavl.publishing.build_notes import OwnPrompts, RunModels
from spavl.publishing.card import write_card
from spavl.publishing.importing.classes import UNKNOWN, ClassMapping
from spavl.publishing.importing.looks import ImageImporter, ImportedImage
from spavl.publishing.importing.meta import SpaVlMeta, read_meta
from spavl.publishing.importing.personal_data import ImportedTexts
from spavl.publishing.importing.published_facts import facts_of
from spavl.publishing.importing.row_checks import OTHERS_TURN, PAIRS, RowsRead, nothing_left, reject_reason
from spavl.publishing.importing.sources import (
    NAMES,
    ImportedRow,
    count,
    fetch,
    files_of,
    passed_over,
    revision_of,
    rows_of,
    unread_of,
)
from spavl.publishing.importing.tidied import literal_or_none, without_stray_end
from spavl.records import (
    Category,
    Contrast,
    Image,
    PublishedFacts,
    Question,
    QuestionKind,
    Record,
    Reject,
    Sample,
    Split,
    content_hash,
)
from spavl.stages.notes import StageNotes, TextAction
from spavl.stages.privacy import PERSONAL_DATA
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text
from spavl.terminal.progress import Screen

R = TypeVar("R", bound=Record)

# The stages of the pipeline that an import writes.
_STAGES = ("taxonomy", "selection", "questions", "dataset")
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
    ) -> None:
        self._texts = texts
        self._run, self._name, self._meta, self._splits_itself = run, name, meta, splits_itself
        self._reads = reads
        # The dropped system prompts, with the number of rows of each.
        self.dropped_system: Counter[str] = Counter()
        # The number of pairs and test questions whose image was between words of the question.
        self.amid = 0
        self._classes = ClassMapping()
        self._seen: set[str] = set()
        self._looks = ImageImporter(run.blobs.put)
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
            if isinstance(look, str):
                self._reject(number, "undecodable", f", {look.replace('_', ' ')}")
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
        said_by = [str(row.more.get(f"{side}_model") or UNKNOWN) for side in ("chosen", "rejected")]
        sample = Sample(
            split=image.split,
            leaf=image.leaf,
            blob=image.blob,
            image_id=image.id,
            question_id=content_hash(["Question", image.id, question])[:32],
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
        clean = self._texts.clean(sample, "question", "chosen", "rejected")
        if clean is None:
            self._reject(number, PERSONAL_DATA)
            return None
        said = self._texts.facts(facts_of(clean, fact, row))
        if said.reasons or said.chosen_label or said.rejected_label:
            self.published.append(said)
        return clean

    def without(self, leaking: dict[str, str], samples: Iterable[Sample]) -> Iterator[Sample]:
        for sample in samples:
            if reason := leaking.get(sample.image_id) or leaking.get(sample.question_id):
                self.rejects.append(Reject(parent_id=sample.id, reason=reason, detail=self._name))
            else:
                yield sample

    def _reject(self, number: int, reason: str, more: str = "") -> None:
        self.rejects.append(Reject(parent_id=f"row {number}", reason=reason, detail=self._name + more))

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
        name = str(row.more.get("image_name") or "")
        known = self._meta.images.get(name, {})
        raw = tuple(str(row.more.get(key) or known.get(key) or "") for key in _CLASSES)
        category = self._classes.leaf(raw)
        return Image(
            category_id=category.id,
            leaf=category.leaf,
            candidate_id="",
            blob=look.blob,
            width=look.width,
            height=look.height,
            phash=look.phash,
            source=str(known.get("url") or row.more.get("image_source") or f"{self._name}/{name}"),
            license=str(row.more.get("image_license") or UNKNOWN),
            caption=self._texts.text(
                str(known.get("gemini_caption") or known.get("caption_laion") or row.more.get("image_caption") or "")
            ),
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
        if question.id in self.questions:
            self._reject(number, "duplicate")
        elif clean := self._texts.clean(question, "text"):
            self.amid += row.is_amid
            self.questions[clean.id] = clean
        else:
            self._reject(number, PERSONAL_DATA)


class ImportResult(NamedTuple):
    """The result of an import: rows by split, rejects by reason, and the leaks between splits."""

    rows: dict[str, int]
    rejects: dict[str, int]
    leaks: list[Leak]
    # The number of questions asked in two splits about different images.
    repeated: int


def bring_in(
    name: str,
    out: Path,
    settings: DatasetConfig,
    screen: Screen,
    reads: RowsRead = PAIRS,
    personal_data: TextAction = "keep",
) -> ImportResult:
    """Import a data set into a new run."""
    texts = ImportedTexts(personal_data)
    began, origin = time.monotonic(), origin_of(name)
    holds(out, origin)
    folder = fetch(name)
    left = _told_of_unread(folder, screen)
    with RunFolder(out) as run:
        # Checked again: the download may have taken hours.
        _holds(run, origin)
        splits = {split for _, split, _ in files_of(folder)}
        made = ImportedData(run, name, read_meta(folder / "meta_files"), "validation" in splits, reads, texts)
        with screen.bar("import", count(folder)) as bar, closing(made):
            run.write_rows("dataset", Sample, made.samples(_rows_with_progress(rows_of(folder), bar.advance)))
        _refuse_nothing(run, made)
        leaks, repeated = _audit(run, made, settings)
        _write(run, "taxonomy", Category, made.categories(), origin)
        _write(run, "selection", Image, made.images.values(), origin)
        _write(run, "questions", Question, made.questions.values(), origin)
        _write(run, "published", PublishedFacts, made.published, origin)
        run.write_rows("dataset", Reject, made.rejects)
        left_in = [leak for leak in leaks if not (settings.leaks.drop and leak.one.split in TRAINING_SPLITS)]
        _tell_of_moved_images(made, screen)
        imported = ImportNotes(len(left_in), _dropped_of(made), made.amid or None, tuple(left), revision_of(folder))
        notes = write_files(run, settings, None, repeated_questions=len(repeated), imported=imported)
        if found := texts.notes():
            notes = notes.model_copy(update={"personal_data": found})
        rejects = dict(Counter(each.reason for each in made.rejects))
        _finish(run, "dataset", Sample, origin, rejects, notes, time.monotonic() - began)
        write_card(run, [done for stage in _STAGES if (done := run.manifest(stage))], RunModels(), OwnPrompts(), None)
        rows = Counter[str](sample.split for sample in run.read("dataset", Sample))
        split_of_image = {image.id: image.split for image in made.images.values()}
        tests = Counter[str](split_of_image[question.image_id] for question in made.questions.values())
        return ImportResult({**rows, **tests}, rejects, leaks, len(repeated))


def holds(out: Path, origin: str) -> bool:
    """Whether the run already has this data set. Raises ConfigError if the run has other content."""
    with RunFolder(out, look_only=True) as run:
        return _holds(run, origin)


def _holds(run: RunFolder, origin: str) -> bool:
    place = f"--out {run.path}"
    then = "choose another folder with --out"
    held = run.manifest("dataset")
    if held is not None and held.origin != origin:
        what = f"this run holds another data set: {held.origin or 'one that it has built'}"
        raise ConfigError(what, where=place, then=then)
    # An import would overwrite the tables of a build that has no data set yet.
    if held is None and (others := [stage for stage in run.stages_begun() if not _is_from(run, stage, origin)]):
        raise ConfigError(f"this run holds other work already: {', '.join(others)}", where=place, then=then)
    if held is None and (calls := run.ledger.totals()["calls"]):
        raise ConfigError(f"this run holds other work already: {calls:.0f} calls of models", where=place, then=then)
    return held is not None


def _is_from(run: RunFolder, stage: str, origin: str) -> bool:
    return (manifest := run.manifest(stage)) is not None and manifest.origin == origin


def _told_of_unread(folder: Path, screen: Screen) -> list[str]:
    """Print which columns and files of the data set are not read. Returns the files."""
    if unread := unread_of(folder):
        screen.say(
            f"warning: nothing reads the columns {', '.join(unread)}; put what a question needs into the question"
        )
    if left := passed_over(folder):
        read = ", ".join(f"{name}-*.parquet" for name in NAMES)
        screen.say(f"warning: these files are not read: {', '.join(left)}; only {read} are")
    return left


def _dropped_of(made: ImportedData) -> DroppedPrompts | None:
    dropped = made.dropped_system
    return DroppedPrompts(rows=dropped.total(), texts=len(dropped)) if dropped else None


def _tell_of_moved_images(made: ImportedData, screen: Screen) -> None:
    if made.amid:
        rows = f"{made.amid} {'row' if made.amid == 1 else 'rows'}"
        screen.say(f"warning: in {rows} the image stood between the question's words; it is shown before them here")


def _refuse_nothing(run: RunFolder, made: ImportedData) -> None:
    if not made.questions and not run.count("dataset", Sample):
        raise nothing_left(Counter(each.reason for each in made.rejects), str(run.path))


def origin_of(name: str) -> str:
    """The origin of the data set, as it is stored in the run's manifests."""
    return name if Path(name).is_dir() else f"{name} on the hub"


def _audit(run: RunFolder, made: ImportedData, settings: DatasetConfig) -> LeakAudit:
    """Find leaks between the splits. With `leaks.drop`, remove the leaking samples."""
    asked = {
        question.id: AuditedQuestion(question.id, question.image_id, question.text)
        for question in made.questions.values()
    }
    for sample in run.read("dataset", Sample):
        asked[sample.question_id] = AuditedQuestion(sample.question_id, sample.image_id, sample.question)
    with open_details(run.blobs.get) as details:
        found = find_leaks(made.images.values(), asked.values, settings.leaks, details.alike)
    write_text(run.path / "leaks.jsonl", found.as_lines())
    if found.leaks and settings.leaks.drop:
        leaking = {leak.one.id: leak.reason for leak in found.leaks}
        run.write_rows("dataset", Sample, made.without(leaking, run.read("dataset", Sample)))
    return found


def _write(run: RunFolder, stage: str, kind: type[R], rows: Iterable[R], origin: str) -> None:
    run.write_rows(stage, kind, rows)
    run.write_rows(stage, Reject, ())
    _finish(run, stage, kind, origin, {}, StageNotes(), 0.0)


def _finish(
    run: RunFolder,
    stage: str,
    kind: type[Record],
    origin: str,
    rejects: dict[str, int],
    notes: StageNotes,
    seconds: float,
) -> None:
    content = run.content(stage, kind)
    run.write_manifest(
        Manifest(
            stage=stage,
            fingerprint=content,
            content=content,
            rows=run.count(stage, kind),
            rejects=rejects,
            seconds=round(seconds, 3),
            notes=notes.as_json(),
            origin=origin,
        )
    )


def _rows_with_progress(rows: Iterator[ImportedRow], advance: Callable[[], None]) -> Iterator[ImportedRow]:
    for row in rows:
        yield row
        advance()


def _luck(blob: str) -> float:
    """A number from 0 to 1 computed from the hash of an image, so that it is the same in every import."""
    return int(blob[-8:], 16) / 16**8
