"""Tries the inputs of several streams, many at once, and yields each attempt as it ends.

Streams run concurrently, each with its own slots, so that a slow one does not delay the others. Those of a later wave
wait for the earlier waves. Inputs whose calls went into a provider's batch are tried again when the batch is answered.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any

from spavl.engine import map_streams
from spavl.models.call_outcomes import listen
from spavl.models.types import CallDeferred, RequestRejected, Transient
from spavl.stages.context import PROVIDER_FAILED, REFUSED, In, Out, RowResult, StageContext, Stream, reject
from spavl.stages.failures import Attempt, StreamInput

# The most inputs that wait for batches at once. Then the batches are sent before further inputs are tried.
_MAX_DEFERRED = 100_000

Attempts = AsyncGenerator[tuple[StreamInput[In], Attempt[Out]], None]


async def attempts(
    context: StageContext[Any],
    streams: Sequence[Stream[In, Out]],
    inputs_of: Callable[[int], Iterator[StreamInput[In]]],
    say: Callable[[str], None],
) -> Attempts[In, Out]:
    """Try all inputs, wave by wave. Between two waves the models in this process are unloaded."""
    waves = sorted({stream.wave for stream in streams})
    for wave in waves:
        inputs = [inputs_of(number) if stream.wave == wave else iter(()) for number, stream in enumerate(streams)]
        async with aclosing(_attempts_of_wave(context, streams, inputs, say)) as of_wave:
            async for given, attempt in of_wave:
                yield given, attempt
        if wave != waves[-1]:
            await context.models.rest()


async def _attempts_of_wave(
    context: StageContext[Any],
    streams: Sequence[Stream[In, Out]],
    inputs: Sequence[Iterator[StreamInput[In]]],
    say: Callable[[str], None],
) -> Attempts[In, Out]:
    most = max(1, _MAX_DEFERRED // len(streams))
    again: list[list[StreamInput[In]]] = [[] for _ in streams]

    async def try_input(given: StreamInput[In]) -> Attempt[Out] | None:
        return await _try(context, streams[given.stream], given.record)

    while True:
        deferred: list[list[StreamInput[In]]] = [[] for _ in streams]
        ready = [
            chain(answered, _until_full(new, waiting, most))
            for answered, new, waiting in zip(again, inputs, deferred, strict=True)
        ]
        async with aclosing(map_streams(ready, try_input, context.in_flight)) as results:
            async for given, attempt in results:
                if attempt is None:
                    deferred[given.stream].append(given)
                else:
                    yield given, attempt
        if not any(deferred):
            return
        await context.models.collect(say)
        again = deferred


def _until_full(
    inputs: Iterator[StreamInput[In]], waiting: Sequence[StreamInput[In]], most: int
) -> Iterator[StreamInput[In]]:
    """Take inputs while there is room in the waiting list. What is not taken stays in `inputs`."""
    while len(waiting) < most and (given := next(inputs, None)) is not None:
        yield given


async def _try(context: StageContext[Any], stream: Stream[In, Out], record: In) -> Attempt[Out] | None:
    """Work on an input; None if its calls wait for a batch."""
    outcomes = listen()
    try:
        return Attempt(await stream.work(record), outcomes)
    except CallDeferred:
        # The work may also have asked models that answer at once; their calls are still under way.
        await context.models.wait_for_calls_in_flight()
        return None
    except RequestRejected as error:
        return Attempt(RowResult(rejects=[reject(record, REFUSED, str(error))]), outcomes)
    except Transient as error:
        failed = reject(record, PROVIDER_FAILED, error.reason)
        return Attempt(RowResult(rejects=[failed], may_be_retried=True), outcomes)
