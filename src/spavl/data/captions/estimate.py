"""What the describer would be asked."""

from spavl.data.captions.config import CaptionsConfig
from spavl.data.captions.run import described, from_source, open_prompts, texts_of
from spavl.data.captions.writing import CaptionReply, request_for
from spavl.records import Description, Image
from spavl.stages.cost_model import CostContext, Weighted, thin
from spavl.text.tidy import tidy

_WORDS = {"caption": 25, "details": 120}


async def descriptions(outlook: CostContext[CaptionsConfig]) -> list[Weighted[Description]]:
    settings, prompts = outlook.settings, open_prompts(outlook.settings)
    rows: list[Weighted[Description]] = []
    for image, times in thin(outlook.trial(outlook.read("selection", Image))):
        if not settings.writer:
            rows.append(Weighted(from_source(image), times))
            continue
        said = []
        for name in texts_of(prompts):
            writer = outlook.open(settings.writer, times, _WORDS[name])
            request = request_for(prompts, name, outlook.image(image), settings.max_tokens, outlook.seed)
            reply = await writer.ask(request)
            said.append(CaptionReply(tidy(reply.text), reply.call, ""))
        rows.append(Weighted(described(image, said, writer.name), times))
    return rows
