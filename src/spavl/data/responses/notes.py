from typing import Annotated, Any

from pydantic import PlainSerializer

from spavl.data.responses.pool import Responder
from spavl.stages.notes import StageNotes


def _write_responder(responder: Responder) -> dict[str, Any]:
    return responder.model_dump(mode="json", exclude_defaults=True)


class ResponsesNotes(StageNotes):
    responders: tuple[Annotated[Responder, PlainSerializer(_write_responder)], ...] = ()
    # How many answers each responder was asked for to a question; None if one.
    samples: int | None = None
