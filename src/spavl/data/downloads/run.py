"""downloads: Candidate rows -> DownloadedImage rows, and their bytes as blobs. Sandboxed workers decode and filter."""

import asyncio
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import urlsplit

from spavl.data.downloads.caption_scores import CaptionScorer, open_scoring
from spavl.data.downloads.config import SPEC, DownloadsConfig
from spavl.data.downloads.fetch import open_fetch
from spavl.data.downloads.inspect_image import FetchedImage, InspectedImage, RefusedImage, examine
from spavl.data.downloads.notes import DownloadsNotes, region_notes
from spavl.engine import WorkerDeath, WorkerLimits, open_workers
from spavl.imaging.local import cell_at
from spavl.imaging.unfetchable import Unfetchable
from spavl.models.names import with_revision
from spavl.records import Candidate, DownloadedImage, Reject
from spavl.stages.context import RowResult, StageContext, reject
from spavl.stages.runner import run_rows
from spavl.store import Manifest


async def run(context: StageContext[DownloadsConfig]) -> Manifest:
    settings = context.settings
    limits = WorkerLimits(settings.worker_timeout, int(settings.worker_gb * 2**30))

    def candidate_sources() -> Iterator[str]:
        yield from (candidate.source for candidate in context.run.read("sourcing", Candidate))

    async with (
        open_scoring(settings) as scoring,
        open_workers(settings.engine, _examined_by(settings, scoring), settings.workers, limits) as workers,
        open_fetch(
            settings.fetch,
            context.run.path / "downloads",
            max(context.in_flight, workers.room),
            candidate_sources,
            keeps_images=not settings.hides,
        ) as fetch,
    ):
        context = dataclasses.replace(context, in_flight=max(context.in_flight, workers.room))

        async def work(candidate: Candidate) -> RowResult[DownloadedImage]:
            try:
                data = await fetch(candidate.source)
            except Unfetchable as error:
                return RowResult(
                    rejects=[reject(candidate, str(error), candidate.source)], may_be_retried=error.passing
                )
            seen = await workers(
                FetchedImage(data, _name_in(candidate.source), candidate.caption, candidate.similarity)
            )
            if scoring is not None and isinstance(seen, InspectedImage):
                seen = await scoring.judge(seen, candidate.caption)
            if isinstance(seen, WorkerDeath):
                return RowResult(rejects=[reject(candidate, seen.reason, candidate.source)])
            if isinstance(seen, RefusedImage):
                detail = f"{candidate.source} ({seen.detail})" if seen.detail else candidate.source
                return RowResult(rejects=[reject(candidate, seen.reason, detail)])
            downloaded = DownloadedImage(
                candidate_id=candidate.id,
                blob=await asyncio.to_thread(context.run.blobs.put, seen.data or data),
                original=seen.original,
                width=seen.width,
                height=seen.height,
                phash=seen.phash,
                measures=seen.measures,
            )
            return RowResult([downloaded])

        candidates, total = context.run.read("sourcing", Candidate), context.run.count("sourcing", Candidate)
        asked = with_revision(settings.similarity_model, scoring.commit) if scoring is not None else None
        return await run_rows(context, SPEC, candidates, total, work, lambda: _notes(context, asked or None))


def _notes(context: StageContext[DownloadsConfig], similarity_model: str | None) -> DownloadsNotes:
    run = context.run
    measures = (image.measures for image in run.read(SPEC.stage, DownloadedImage))
    rejected = Counter(each.reason for each in run.read(SPEC.stage, Reject))
    return DownloadsNotes(similarity_model=similarity_model, **region_notes(context.settings, measures, rejected))


def _examined_by(
    settings: DownloadsConfig, scoring: CaptionScorer | None
) -> Callable[[Sequence[FetchedImage]], list[InspectedImage | RefusedImage]]:
    return functools.partial(examine, settings, form=scoring.form if scoring else None)


def _name_in(source: str) -> str:
    """The file name in a source, whose extension may state a format; empty if there is none."""
    if source.startswith("tar:"):
        return source.partition("#")[2].rpartition("@")[0]
    return "" if cell_at(source) else urlsplit(source).path
