"""When a stage is finished: the fingerprint of what its rows depend on, and the manifest that records it."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from pydantic import BaseModel

from spavl.config import settings_to_hash
from spavl.judges.guards.custom_prompt import own_in
from spavl.models.names import without_addresses
from spavl.records import Reject, content_hash
from spavl.stages.context import C, Out, StageContext
from spavl.stages.failures import no_rows
from spavl.stages.notes import StageNotes
from spavl.stages.privacy import personal_data_notes
from spavl.stages.spec import StageSpec
from spavl.store import Manifest
from spavl.store.journal import Journal

# What precedes the folder in the name of a model on this disk: its given name and its kind.
_NAME_AND_KIND = re.compile("^([^=/]+=)?((hf|reward)/)?")


def fingerprint_of(context: StageContext[C], spec: StageSpec[Out]) -> str:
    """A hash of what a stage's rows depend on: version, settings, seed, limit, and the rows and files it reads."""
    read = [manifest.content for name in spec.reads if (manifest := context.run.manifest(name))]
    # A model at another address is the same model.
    settings = settings_to_hash(context.settings)
    own = without_addresses(context.models.settings_within(settings))
    more = [*own, *([context.limit] if spec.takes_limit and context.limit is not None else [])]
    state = _state_of_files(context, spec)
    more += context.privacy.depends_on(spec)
    return content_hash([spec.stage, spec.version, without_addresses(settings), context.seed, read, state, *more])


def current_manifest(context: StageContext[C], spec: StageSpec[Out]) -> Manifest | None:
    """The manifest of the stage, if its rows were imported or made with these settings and inputs.

    If its table was deleted, it is made again.
    """
    manifest = context.run.manifest(spec.stage)
    if manifest is None or manifest.origin is not None:
        return manifest
    if not context.run.has_table(spec.stage, spec.writes):
        return None
    return manifest if manifest.fingerprint == fingerprint_of(context, spec) else None


def finish(
    context: StageContext[C],
    spec: StageSpec[Out],
    fingerprint: str,
    journal: Journal,
    total: int,
    conclude: Callable[[], StageNotes],
    began: float,
) -> Manifest:
    """Write the tables from the journal, then the manifest. `began` is a time of `time.monotonic`."""
    run = context.run
    run.write_rows(spec.stage, spec.writes, journal.rows(spec.writes))
    run.write_rows(spec.stage, Reject, journal.rejects())
    rejects = Counter(reject.reason for reject in journal.rejects())
    run.ledger.seal(spec.stage)
    notes = conclude()
    # A stage that filters what it reads itself says what it found there.
    found = notes.personal_data or personal_data_notes(context.privacy, spec, journal.finds())
    if found:
        notes = notes.model_copy(update={"personal_data": found})
    if total and not run.count(spec.stage, spec.writes):
        raise no_rows(spec.stage, total, rejects)
    return seal(context, spec, fingerprint, dict(sorted(rejects.items())), time.monotonic() - began, notes)


def seal(
    context: StageContext[C],
    spec: StageSpec[Out],
    fingerprint: str,
    rejects: dict[str, int],
    seconds: float,
    notes: StageNotes,
) -> Manifest:
    """Write the manifest that marks a stage as finished. Its tables must be written before."""
    manifest = Manifest(
        stage=spec.stage,
        fingerprint=fingerprint,
        content=_content(context, spec),
        rows=context.run.count(spec.stage, spec.writes),
        rejects=rejects,
        seconds=round(seconds, 3),
        notes=notes.as_json(),
    )
    context.run.write_manifest(manifest)
    return manifest


def _content(context: StageContext[C], spec: StageSpec[Out]) -> str:
    rows = context.run.content(spec.stage, spec.writes)
    return content_hash([rows, _state_of_files(context, spec)]) if spec.rows_refer_to_files else rows


def _state_of_files(context: StageContext[C], spec: StageSpec[Out]) -> list[object]:
    named = map(_path_in, _file_settings(context.settings, spec.files))
    return [context.run.state_of(Path(path)) for path in named if path]


def _file_settings(settings: BaseModel, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        value = attrgetter(name)(settings)
        yield from filter(None, (value,) if isinstance(value, str) else value)


def _path_in(name: str) -> str:
    """The file or folder that a setting names; empty if it gives a name to nothing, as `after=` does until a training.

    A path that exists as written comes first.
    """
    if Path(name).exists():
        return name
    custom_prompt = own_in(name.removeprefix("judge/"))
    return custom_prompt.file if custom_prompt else _NAME_AND_KIND.sub("", name)
