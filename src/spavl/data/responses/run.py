"""responses: Question rows -> Response rows, of each responder one or several. A refusal is an answer and is kept.

Each responder answers the questions at its own pace: a slow or rate-limited one does not delay the others.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from spavl.data.responses.config import SPEC, ResponsesConfig
from spavl.data.responses.notes import ResponsesNotes
from spavl.data.responses.pool import Responder, check_complete, members, read_pool
from spavl.errors import ConfigError
from spavl.models.names import without_addresses
from spavl.models.types import ImageData, Message, Request, RequestRejected, Transient
from spavl.records import Image, Question, Record, Response, canonical_json
from spavl.stages.context import PROVIDER_FAILED, REFUSED, RowResult, StageContext, Stream, reject
from spavl.stages.runner import run_streams
from spavl.store import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSample(Record):
    """A question, and which of a responder's answers to it is asked for."""

    question: Question
    sample: int

    @property
    def id(self) -> str:
        """The id of the question: rejects name the question that they belong to."""
        return self.question.id


async def run(context: StageContext[ResponsesConfig]) -> Manifest:
    responders, samples = responders_of(context.settings), context.settings.samples
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

    def question_samples() -> Iterator[QuestionSample]:
        return (QuestionSample(question=each, sample=sample) for each in questions() for sample in range(samples))

    def asking(responder: Responder) -> Callable[[QuestionSample], Awaitable[RowResult[Response]]]:
        model = context.models.open(responder.model, SPEC.stage, responder)

        async def ask(given: QuestionSample) -> RowResult[Response]:
            question, sample = given.question, given.sample
            shown = image_data(images[question.image_id].blob)
            request = request_to(responder, context.settings, shown, question.text, context.seed, sample)
            who = f"{responder.name}, sample {sample}" if sample else responder.name
            try:
                reply = await model.ask(request)
            except RequestRejected as error:
                return RowResult(rejects=[reject(given, REFUSED, f"{who}: {error}")])
            except Transient as error:
                lost = reject(given, PROVIDER_FAILED, f"{who}: {error.reason}")
                return RowResult(rejects=[lost], may_be_retried=True)
            if not reply.text.strip() and reply.finish != "refused":
                reason = "thoughts_cut_off" if reply.finish == "length" else "empty"
                return RowResult(rejects=[reject(given, reason, who)])
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

    streams = [Stream(responder.name, question_samples(), asking(responder)) for responder in responders]
    total = samples * sum(1 for _ in questions())
    notes = ResponsesNotes(responders=tuple(responders), samples=samples if samples > 1 else None)
    return await run_streams(context, SPEC, streams, total, lambda: notes)


def responders_of(settings: ResponsesConfig, complete: bool = True) -> list[Responder]:
    """The configured models, or the pool's members. Raise ConfigError if their answers can form no pair.

    If `complete`, also if one of them lacks something.
    """
    if settings.pool:
        pool = read_pool(settings.pool)
        responders = members(pool, settings.addresses, settings.without)
        if complete:
            check_complete(pool, responders)
    else:
        responders = [Responder(name=without_addresses(uri), model=uri) for uri in dict.fromkeys(settings.models)]
    _check_number_of_answers(settings, responders)
    return responders


def _check_number_of_answers(settings: ResponsesConfig, responders: Sequence[Responder]) -> None:
    if not responders:
        raise ConfigError("every responder is left out", where="responses.without", then="leave two in, at the least")
    if len(responders) == 1 and settings.samples == 1:
        where = "responses.without" if settings.pool else "responses.models"
        then = "name a second responder, or ask one for several answers: --responses.samples 4"
        raise ConfigError("one responder with one answer to a question makes no pair", where=where, then=then)
    greedy = [each for each in responders if not _own_or(each.temperature, settings.temperature)]
    if settings.samples > 1 and greedy:
        what = f"several samples at temperature 0 are identical, and {greedy[0].name} has no other temperature"
        own = greedy[0].temperature is not None
        then = f"set {'its temperature in the pool' if own else 'a temperature, such as --responses.temperature 1'}"
        raise ConfigError(what, where="responses.samples", then=then)


def _own_or(own: float | None, usual: float) -> float:
    return usual if own is None else own


def request_to(
    responder: Responder, settings: ResponsesConfig, image: ImageData, text: str, seed: int, sample: int
) -> Request:
    system = (Message("system", responder.system),) if responder.system else ()
    return Request(
        (*system, Message("user", text, (image,))),
        max_tokens=settings.max_tokens,
        temperature=_own_or(responder.temperature, settings.temperature),
        top_p=_own_or(responder.top_p, settings.top_p),
        seed=seed,
        sample=sample,
    )


def decoding_settings(request: Request, without: Collection[str] = ()) -> tuple[str, ...]:
    """The decoding settings that were sent to the server, as strings to store with the answer.

    The second and later answers to one question also have the number of their sample, from 1.
    """
    names = [name for name in ("temperature", "top_p", "max_tokens", "seed") if name not in without]
    more = json.loads(request.more or "{}")
    settings = [f"{name}={getattr(request, name)}" for name in names if name not in more]
    settings += [f"{name}={value if isinstance(value, str) else canonical_json(value)}" for name, value in more.items()]
    settings += [f"sample={request.sample}"] if request.sample else []
    system = [f"system={message.text}" for message in request.messages if message.role == "system"]
    return tuple(settings + system)
