"""What a stage is given, the streams of work that it consists of, and the result of each input."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from spavl.models.factory import ModelFactory
from spavl.records import Record, Reject
from spavl.stages.privacy import KEEP_TEXTS, PrivacyConfig
from spavl.store import RunFolder
from spavl.terminal.progress import Screen

In = TypeVar("In", bound=Record)
Out = TypeVar("Out", bound=Record)
C = TypeVar("C", bound=BaseModel)

# The reasons of rejects that come from a provider: it failed to answer, or refused the request for good (4xx).
PROVIDER_FAILED = "provider_failed"
REFUSED = "refused_by_server"


@dataclass(frozen=True, slots=True)
class StageContext(Generic[C]):
    """What a stage is given: its settings, its run folder, and the models, screen and limits of the pipeline."""

    run: RunFolder
    settings: C
    seed: int
    models: ModelFactory
    screen: Screen
    in_flight: int
    limit: int | None = None
    privacy: PrivacyConfig = KEEP_TEXTS


class RowResult(NamedTuple, Generic[Out]):
    """The result of one input."""

    rows: Sequence[Out] = ()
    rejects: Sequence[Reject] = ()
    # Whether the input failed for a reason that may pass, so that it is tried once more.
    may_be_retried: bool = False


class Stream(NamedTuple, Generic[In, Out]):
    """One of the streams of work of a stage: its inputs, and the function applied to each."""

    name: str
    inputs: Iterable[In]
    work: Callable[[In], Awaitable[RowResult[Out]]]
    # A later wave starts when the earlier ones are done and their models have left the memory.
    wave: int = 0
    # Whether the stage stops when many replies of a model in a row cannot be parsed.
    must_be_read: bool = False


def reject(parent: Record, reason: str, detail: str = "") -> Reject:
    return Reject(parent_id=parent.id, reason=reason, detail=detail[:500])
