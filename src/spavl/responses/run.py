"""responses: Question -> Response rows, one a responder. A refusal is an answer and is kept."""

import asyncio
from collections.abc import Iterator

from spavl.models.types import ChatModel, Picture, Rejected, Request, Transient, ask_about
from spavl.records import Image, Question, Reject, Response
from spavl.responses.config import PLAN, ResponsesConfig
from spavl.stage import PROVIDER_FAILED, Job, Made, reject, run_rows
from spavl.store import Manifest


async def run(job: Job[ResponsesConfig]) -> Manifest:
    settings = job.settings
    responders = {uri: job.models.open(uri, PLAN.stage) for uri in settings.models}
    images = job.run.lookup("images", Image)

    def questions() -> Iterator[Question]:
        """The test questions are for the tested models alone."""
        for question in job.run.read("questions", Question):
            if images[question.image_id].split in ("train", "validation"):
                yield question

    async def answer(question: Question, picture: Picture, uri: str, model: ChatModel) -> Response | Reject:
        request = ask_about(
            picture,
            question.text,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=job.seed,
        )
        try:
            reply = await model.ask(request)
        except Rejected as error:
            return reject(question, "refused_by_server", f"{uri}: {error}")
        except Transient as error:
            return reject(question, PROVIDER_FAILED, f"{uri}: {error.reason}")
        if not reply.text.strip() and reply.finish != "refused":
            return reject(question, "empty", uri)
        return Response(
            question_id=question.id,
            model=uri,
            text=reply.text,
            finish=reply.finish,
            decoding=spelled(request),
            call=reply.call,
        )

    async def work(question: Question) -> Made[Response]:
        blob = images[question.image_id].blob
        picture = Picture(blob, job.run.blobs.get(blob))
        made = await asyncio.gather(*(answer(question, picture, *responder) for responder in responders.items()))
        rows = [row for row in made if isinstance(row, Response)]
        return Made(rows, [row for row in made if isinstance(row, Reject)])

    return await run_rows(job, PLAN, questions(), sum(1 for _ in questions()), work)


def spelled(request: Request) -> tuple[str, ...]:
    """The decoding settings of a request, as they are kept with its answer."""
    return tuple(f"{name}={getattr(request, name)}" for name in ("temperature", "top_p", "max_tokens", "seed"))
