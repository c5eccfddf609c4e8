"""captions: Image rows -> Description rows. Where the model refuses, the source's caption is used and marked.

A benign twin gets no caption of its own, because it is shown with its original's questions.
"""

import asyncio
from collections import Counter

from spavl.data.captions.config import SPEC, CaptionsConfig
from spavl.data.captions.notes import CaptionsNotes
from spavl.data.captions.writing import TEXTS, CaptionReply, request_for, say
from spavl.models.prompts import Prompts, read_prompts
from spavl.models.types import ImageData
from spavl.records import Description, Image
from spavl.stages.context import RowResult, StageContext
from spavl.stages.runner import run_rows
from spavl.stages.subset import subsample_images
from spavl.store import Manifest

_SOURCE = "source"


async def run(context: StageContext[CaptionsConfig]) -> Manifest:
    settings = context.settings
    prompts = open_prompts(settings)
    writer = context.models.open(settings.writer, SPEC.stage) if settings.writer else None
    wanted = texts_of(prompts)

    async def work(image: Image) -> RowResult[Description]:
        if writer is None:
            return RowResult([from_source(image)])
        image_data = ImageData(image.blob, context.run.blobs.get(image.blob))
        requests = [request_for(prompts, name, image_data, settings.max_tokens, context.seed) for name in wanted]
        said = await asyncio.gather(*(say(writer, *asked) for asked in zip(requests, wanted, strict=True)))
        return RowResult([description_of(image, said, writer.name)])

    images = subsample_images(context.run.read("selection", Image), context.limit)
    return await run_rows(context, SPEC, images, len(images), work, lambda: _notes(context))


def open_prompts(settings: CaptionsConfig) -> Prompts:
    return read_prompts("spavl.data.captions", settings.prompts, "captions.prompts", needs=("caption",))


def texts_of(prompts: Prompts) -> list[str]:
    """The texts that the prompts ask for. Without a prompt for details, the caption is also used as details."""
    return [name for name in TEXTS if name in prompts]


def from_source(image: Image) -> Description:
    return Description(
        image_id=image.id,
        caption=image.caption,
        details=image.caption,
        fallback=False,
        reason="",
        writer=_SOURCE,
        calls=(),
    )


def description_of(image: Image, said: list[CaptionReply], writer: str) -> Description:
    """A Description row. Missing details are replaced by the caption, and a missing caption by the source's."""
    caption, details = said[0], said[-1]
    fault = caption.fault or details.fault
    return Description(
        image_id=image.id,
        caption=caption.text or image.caption,
        details=details.text or caption.text or image.caption,
        fallback=bool(fault),
        reason=fault,
        writer=writer,
        calls=tuple(each.call for each in said if each.call),
    )


def _notes(context: StageContext[CaptionsConfig]) -> CaptionsNotes:
    reasons: Counter[str] = Counter()
    by_source = without = 0
    for row in context.run.read(SPEC.stage, Description):
        by_source += row.writer == _SOURCE
        without += not row.caption
        if row.fallback:
            reasons[row.reason] += 1
    return CaptionsNotes(by_source=by_source, fallbacks=dict(sorted(reasons.items())), without_caption=without)
