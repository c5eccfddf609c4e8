"""What the pool would be asked."""

from spavl.models.types import ask_about
from spavl.outlook import Many, Outlook, thin
from spavl.records import Image, Question, Response
from spavl.responses.config import ResponsesConfig
from spavl.responses.run import spelled

# An answer of two paragraphs.
_WORDS = 150


async def responses(outlook: Outlook[ResponsesConfig]) -> list[Many[Response]]:
    settings = outlook.settings
    images = {image.id: image for image, _ in outlook.read("images", Image)}
    questions = outlook.read("questions", Question)
    asked = [many for many in questions if images[many.row.image_id].split in ("train", "validation")]
    rows: list[Many[Response]] = []
    for question, times in thin(asked):
        request = ask_about(
            outlook.picture(images[question.image_id]),
            question.text,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=outlook.seed,
        )
        for uri in settings.models:
            reply = await outlook.open(uri, times, _WORDS).ask(request)
            response = Response(
                question_id=question.id,
                model=uri,
                text=reply.text,
                finish=reply.finish,
                decoding=spelled(request),
                call=reply.call,
            )
            rows.append(Many(response, times))
    return rows
