"""Cost estimate: the pool's calls."""

from itertools import product

from spavl.data.responses.config import ResponsesConfig
from spavl.data.responses.run import decoding_settings, request_to, responders_of
from spavl.records import Image, Question, Response
from spavl.stages.cost_model import CostContext, WeightedRow, subsample_rows

# An answer of two paragraphs.
_WORDS = 150


async def responses(context: CostContext[ResponsesConfig]) -> list[WeightedRow[Response]]:
    settings, responders = context.settings, responders_of(context.settings, complete=False)
    images = {image.id: image for image, _ in context.read("selection", Image)}
    questions = context.read("questions", Question)
    asked = [many for many in questions if images[many.row.image_id].split in ("train", "validation")]
    rows: list[WeightedRow[Response]] = []
    for question, times in subsample_rows(asked):
        image_data = context.image(images[question.image_id])
        for responder, sample in product(responders, range(settings.samples)):
            request = request_to(responder, settings, image_data, question.text, context.seed, sample)
            reply = await context.open(responder.model, times, _WORDS, responder).ask(request)
            response = Response(
                question_id=question.id,
                model=responder.name,
                text=reply.text,
                finish=reply.finish,
                decoding=decoding_settings(
                    context.models.request_as_sent(responder.model, request, responder), reply.without
                ),
                call=reply.call,
                reasoning=reply.reasoning,
            )
            rows.append(WeightedRow(response, times))
    return rows
