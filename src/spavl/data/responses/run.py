"""responses: Question rows -> Response rows, one for each responder. A refusal is an answer and is kept.

Each responder answers the questions at its own pace: a slow or rate-limited one does not delay the others.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Iterator
from functools import lru_cache

from spavl.data.responses.config import SPEC, ResponsesConfig
from spavl.data.responses.notes import ResponsesNotes
from spavl.data.responses.pool import Responder, check_complete, members, read_pool
from spavl.errors import ConfigError
from spavl.models.names import without_addresses
from spavl.models.types import ImageData, Message, Request, RequestRejected, Transient
from spavl.records import Image, Question, Response, canonical_json
from spavl.stages.context import PROVIDER_FAILED, REFUSED, RowResult, StageContext, Stream, reject
from spavl.stages.runner import run_streams
from spavl.store import Manifest


async def run(context: StageContext[ResponsesConfig]) -> Manifest:
    responders = responders_of(context.settings)
    images = context.run.lookup("selection", Image, readers=len(responders))

    # Responders that are at the same question share the bytes of its image.
    @lru_cache(maxsize=context.in_flight)
    def image_data(blob: str) -> ImageData:
        return ImageData(blob, context.run.blobs.get(blob))

    def questions() -> Iterator[Question]:
        """The training and validation questions. Only evaluated models answer the test questions."""
        for question in context.run.read("questions", Question):
            if images[question.image_id].split in ("train", "validation"):
                yield question

    def asking(responder: Responder) -> Callable[[Question], Awaitable[RowResult[Response]]]:
        model = context.models.open(responder.model, SPEC.stage, responder)

        async def ask(question: Question) -> RowResult[Response]:
            request = request_to(
                responder, context.settings, image_data(images[question.image_id].blob), question.text, context.seed
            )
            try:
                reply = await model.ask(request)
            except RequestRejected as error:
                return RowResult(rejects=[reject(question, REFUSED, f"{responder.name}: {error}")])
            except Transient as error:
                lost = reject(question, PROVIDER_FAILED, f"{responder.name}: {error.reason}")
                return RowResult(rejects=[lost], may_be_retried=True)
            if not reply.text.strip() and reply.finish != "refused":
                reason = "thoughts_cut_off" if reply.finish == "length" else "empty"
                return RowResult(rejects=[reject(question, reason, responder.name)])
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
            return RowResult([response])

        return ask

    streams = [Stream(responder.name, questions(), asking(responder)) for responder in responders]
    notes = ResponsesNotes(responders=tuple(responders))
    return await run_streams(context, SPEC, streams, sum(1 for _ in questions()), lambda: notes)


def responders_of(settings: ResponsesConfig, complete: bool = True) -> list[Responder]:
    """The configured models, or the pool's members. If `complete`, raise ConfigError if one of them lacks something."""
    if not settings.pool:
        return [Responder(name=without_addresses(uri), model=uri) for uri in dict.fromkeys(settings.models)]
    pool = read_pool(settings.pool)
    responders = members(pool, settings.addresses, settings.without)
    if complete:
        check_complete(pool, responders)
    if not responders:
        raise ConfigError("every responder is left out", where="responses.without", then="leave two in, at the least")
    return responders


def request_to(responder: Responder, settings: ResponsesConfig, image: ImageData, text: str, seed: int) -> Request:
    def setting(own: float | None, usual: float) -> float:
        return usual if own is None else own

    system = (Message("system", responder.system),) if responder.system else ()
    return Request(
        (*system, Message("user", text, (image,))),
        max_tokens=settings.max_tokens,
        temperature=setting(responder.temperature, settings.temperature),
        top_p=setting(responder.top_p, settings.top_p),
        seed=seed,
    )


def decoding_settings(request: Request, without: Collection[str] = ()) -> tuple[str, ...]:
    """The decoding settings that were sent to the server, as strings to store with the answer."""
    names = [name for name in ("temperature", "top_p", "max_tokens", "seed") if name not in without]
    more = json.loads(request.more or "{}")
    settings = [f"{name}={getattr(request, name)}" for name in names if name not in more]
    settings += [f"{name}={value if isinstance(value, str) else canonical_json(value)}" for name, value in more.items()]
    system = [f"system={message.text}" for message in request.messages if message.role == "system"]
    return tuple(settings + system)
