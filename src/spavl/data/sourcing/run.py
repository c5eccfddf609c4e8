"""sourcing: Category rows -> Candidate rows, in the order in which each leaf uses them."""

from contextlib import closing

from spavl.data.sourcing.catalogue import Catalogue
from spavl.data.sourcing.config import SPEC, SourcingConfig
from spavl.data.sourcing.notes import SourcingNotes
from spavl.data.sourcing.readers.entry import SkippedEntry
from spavl.data.sourcing.shards import PACKED
from spavl.data.sourcing.sources import FolderSource, HubSource, Source, UnsortedSource, open_source
from spavl.records import Candidate, Category
from spavl.stages.context import RowResult, StageContext, reject
from spavl.stages.runner import run_rows
from spavl.store import Manifest

_MOST_TOLD = 10
_UNPACK = " (unpack these: only plain .tar files and tables are read)"


async def run(context: StageContext[SourcingConfig]) -> Manifest:
    categories = list(context.run.read("taxonomy", Category))
    source = open_source(context.settings, context.seed, categories)
    revision = packed = None
    if isinstance(source, HubSource):
        source, fetched = source.fetch_dataset(context.run.path / "hub", categories)
        revision, packed = fetched.revision, fetched.packed
        if packed:
            context.screen.say(f"candidates: {packed} packed archives were left on the hub{_UNPACK}")
    if isinstance(source, FolderSource) and source.unmatched:
        told = ", ".join(repr(name) for name in source.unmatched[:_MOST_TOLD])
        more = f" and {len(source.unmatched) - _MOST_TOLD} more" if len(source.unmatched) > _MOST_TOLD else ""
        context.screen.say(f"warning: no leaf is named as these folders, which are left out: {told}{more}")
    if not isinstance(source, UnsortedSource):
        return await _list(context, source, categories, SourcingNotes(revision=revision, packed_on_hub=packed))
    folder = context.run.path / "catalogue"
    with closing(Catalogue(folder / "catalogue.sqlite")) as catalogue:
        searched = await source.build_index(
            catalogue, context.settings, folder, context.screen, context.run.state_of, context.privacy
        )
        if left_out := searched.left_out:
            told = ", ".join(f"{reason} {count}" for reason, count in left_out.items())
            context.screen.say(f"candidates: left out of the source: {told}{_UNPACK if PACKED in left_out else ''}")
        notes = SourcingNotes(
            revision=revision,
            packed_on_hub=packed,
            images_in_source=catalogue.count(),
            left_out=left_out,
            search_model=searched.model or None,
            personal_data=catalogue.personal_data(context.privacy.texts),
        )
        return await _list(context, searched, categories, notes)


async def _list(
    context: StageContext[SourcingConfig], source: Source, categories: list[Category], notes: SourcingNotes
) -> Manifest:
    async def work(category: Category) -> RowResult[Candidate]:
        found = list(source.candidates(category, context.settings.per_leaf or 0))
        originals = [row for row in found if isinstance(row, Candidate)]
        rows = [row for original in originals for row in (original, *source.twins(original))]
        return RowResult(
            rows, [reject(category, row.reason, row.place) for row in found if isinstance(row, SkippedEntry)]
        )

    return await run_rows(context, SPEC, categories, len(categories), work, lambda: notes)
