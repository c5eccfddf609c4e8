"""Cost estimate: the describer's calls."""

from spavl.data.captions.config import CaptionsConfig
from spavl.data.captions.run import description_of, from_source, open_prompts, texts_of
from spavl.data.captions.writing import CaptionReply, request_for
from spavl.records import Description, Image
from spavl.stages.cost_model import CostContext, WeightedRow, subsample_rows
from spavl.text.tidy import tidy

_WORDS = {"caption": 25, "details": 120}


async def captions(context: CostContext[CaptionsConfig]) -> list[WeightedRow[Description]]:
    settings, prompts = context.settings, open_prompts(context.settings)
    rows: list[WeightedRow[Description]] = []
    for image, times in subsample_rows(context.subset(context.read("selection", Image))):
        if not settings.writer:
            rows.append(WeightedRow(from_source(image), times))
            continue
        said = []
        for name in texts_of(prompts):
            writer = context.open(settings.writer, times, _WORDS[name])
            request = request_for(prompts, name, context.image(image), settings.max_tokens, context.seed)
            reply = await writer.ask(request)
            said.append(CaptionReply(tidy(reply.text), reply.call, ""))
        rows.append(WeightedRow(description_of(image, said, writer.name), times))
    return rows
