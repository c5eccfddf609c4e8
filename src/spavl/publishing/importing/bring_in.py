"""Makes a run from an external data set; its stages up to the data set count as finished."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, TypeVar

from spavl.data.dataset.audit import TRAINING_SPLITS, AuditedQuestion, Leak, LeakAudit, find_leaks
from spavl.data.dataset.config import DatasetConfig
from spavl.data.dataset.files import write_files
from spavl.data.dataset.notes import DroppedPrompts, ImportNotes
from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.filters import require_packages
from spavl.engine.details import open_details
from spavl.errors import ConfigError
from spavl.publishing.build_notes import OwnPrompts, RunModels
from spavl.publishing.card import write_card
from spavl.publishing.importing.imported_data import ImportedData
from spavl.publishing.importing.looks import image_settings
from spavl.publishing.importing.meta import read_meta
from spavl.publishing.importing.personal_data import ImportedTexts
from spavl.publishing.importing.row_checks import PAIRS, RowsRead, nothing_left
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
from spavl.publishing.privacy import PrivacyRow, privacy_rows
from spavl.records import (
    Category,
    Image,
    PublishedFacts,
    Question,
    Record,
    Reject,
    Sample,
)
from spavl.stages.notes import StageNotes, TextAction
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text
from spavl.terminal.progress import Screen

R = TypeVar("R", bound=Record)

# The stages of the pipeline that an import writes.
_STAGES = ("taxonomy", "selection", "questions", "dataset")


class ImportResult(NamedTuple):
    """The result of an import: rows by split, rejects by reason, and the leaks between splits."""

    rows: dict[str, int]
    rejects: dict[str, int]
    leaks: list[Leak]
    # The number of questions asked in two splits about different images.
    repeated: int
    # What was looked for to protect persons, in texts and images.
    personal_data: Sequence[PrivacyRow]


def bring_in(
    name: str,
    out: Path,
    settings: DatasetConfig,
    screen: Screen,
    reads: RowsRead = PAIRS,
    personal_data: TextAction = "keep",
    images: DownloadsConfig | None = None,
) -> ImportResult:
    """Import a data set into a new run. `images` are the settings of the filters for persons in its images."""
    texts, images = ImportedTexts(personal_data), images or image_settings()
    require_packages(images, "--{}")
    began, origin = time.monotonic(), origin_of(name)
    holds(out, origin)
    folder = fetch(name)
    left = _told_of_unread(folder, screen)
    with RunFolder(out) as run:
        # Checked again: the download may have taken hours.
        _holds(run, origin)
        splits = {split for _, split, _ in files_of(folder)}
        made = ImportedData(run, name, read_meta(folder / "meta_files"), "validation" in splits, reads, texts, images)
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
        imported = ImportNotes(
            leaks_left_in=len(left_in),
            dropped_system_prompts=_dropped_of(made),
            images_amid=made.amid or None,
            files_not_read=tuple(left),
            revision=revision_of(folder),
            **made.searched_images(),
        )
        notes = write_files(run, settings, None, repeated_questions=len(repeated), imported=imported)
        if found := texts.notes():
            notes = notes.model_copy(update={"personal_data": found})
        rejects = dict(Counter(each.reason for each in made.rejects))
        _finish(run, "dataset", Sample, origin, rejects, notes, time.monotonic() - began)
        manifests = [done for stage in _STAGES if (done := run.manifest(stage))]
        write_card(run, manifests, RunModels(), OwnPrompts(), None)
        rows = Counter[str](sample.split for sample in run.read("dataset", Sample))
        split_of_image = {image.id: image.split for image in made.images.values()}
        tests = Counter[str](split_of_image[question.image_id] for question in made.questions.values())
        return ImportResult(dict(rows + tests), rejects, leaks, len(repeated), privacy_rows(manifests))


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
