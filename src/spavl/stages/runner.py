"""Runs a stage: skip finished inputs, try the others, write rows and rejects, try failed inputs once more.

A stage is a function from one input to rows and rejects. The result of an input is written to the journal in one
transaction, so that after a kill at any moment each input is either finished or untouched.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import Generic

from spavl.stages.context import C, In, Out, RowResult, StageContext, Stream
from spavl.stages.failures import FailedInput, PendingFailures, StreamInput, check_failed, stop_refused, stop_unreadable
from spavl.stages.finishing import fingerprint_of, finish
from spavl.stages.notes import StageNotes
from spavl.stages.privacy import filter_rows
from spavl.stages.spec import StageSpec
from spavl.stages.streams import attempts
from spavl.store import Manifest
from spavl.store.journal import Journal


async def run_rows(
    context: StageContext[C],
    spec: StageSpec[Out],
    inputs: Iterable[In],
    total: int,
    work: Callable[[In], Awaitable[RowResult[Out]]],
    conclude: Callable[[], StageNotes] = StageNotes,
    must_be_read: bool = False,
) -> Manifest:
    """Run a stage over its inputs; it continues where an earlier start stopped.

    `conclude` is called when the rows are on disk and before the stage counts as finished: it may check or export
    them, and returns the notes of the manifest.
    """
    stream = Stream(spec.stage, inputs, work, must_be_read=must_be_read)
    return await run_streams(context, spec, [stream], total, conclude)


async def run_streams(
    context: StageContext[C],
    spec: StageSpec[Out],
    streams: Sequence[Stream[In, Out]],
    total: int,
    conclude: Callable[[], StageNotes] = StageNotes,
) -> Manifest:
    """Run a stage as several concurrent streams of work.

    Each stream has `total` inputs. The rows are ordered as if each input had gone through all streams in turn.
    """
    began = time.monotonic()
    fingerprint = fingerprint_of(context, spec)
    context.run.forget(spec.stage)
    journal = context.run.journal(spec.stage, fingerprint)
    try:
        await _StreamsRun(context, spec, streams, total, journal).run()
        manifest = finish(context, spec, fingerprint, journal, total, conclude, began)
        journal.delete()
        return manifest
    finally:
        journal.close()


class _StreamsRun(Generic[C, In, Out]):
    """One start of a stage: from the inputs that are not in the journal to a journal of all inputs."""

    def __init__(
        self,
        context: StageContext[C],
        spec: StageSpec[Out],
        streams: Sequence[Stream[In, Out]],
        total: int,
        journal: Journal,
    ) -> None:
        self._context, self._spec, self._streams, self._total, self._journal = context, spec, streams, total, journal
        max_failed = spec.max_failed_fraction * total
        self._failures: list[PendingFailures[In, Out]] = [
            PendingFailures(journal.answering_models(number), stream.must_be_read, max_failed)
            for number, stream in enumerate(streams)
        ]

    async def run(self) -> None:
        await self._try_all(self._unfinished_inputs, self._total * len(self._streams), self._journal.count())
        self._stop_if_models_fail()
        await self._retry_failed()
        self._write_failures()

    def _unfinished_inputs(self, number: int) -> Iterator[StreamInput[In]]:
        """The inputs of a stream that are not in the journal, until the stream has to stop."""
        undone = self._journal.undone(self._streams[number].inputs, number, len(self._streams))
        for position, record in undone:
            if self._failures[number].must_stop():
                return
            yield StreamInput(number, position, record)

    async def _try_all(self, inputs_of: Callable[[int], Iterator[StreamInput[In]]], count: int, done: int) -> None:
        with self._context.screen.bar(self._spec.stage, count, done) as bar:
            async with aclosing(attempts(self._context, self._streams, inputs_of, bar.tell)) as results:
                async for given, attempt in results:
                    failures = self._failures[given.stream]
                    if new := attempt.outcomes.answered - failures.answered:
                        self._journal.note_answered(given.stream, new)
                    if not failures.hold(given, attempt):
                        self._write(given, attempt.result)
                    bar.advance(rejected=len(attempt.result.rejects))

    def _stop_if_models_fail(self) -> None:
        for stream, failures in zip(self._streams, self._failures, strict=True):
            if silent := failures.silent_models():
                stop_refused(self._context.run, self._spec.stage, stream.name, silent)
            if replies := failures.unreadable_model():
                stop_unreadable(stream.name, replies._replace(last=self._context.privacy.without_finds(replies.last)))

    async def _retry_failed(self) -> None:
        failed: list[list[FailedInput[In, Out]]] = [failures.take_failed() for failures in self._failures]
        count = sum(map(len, failed))
        if not count:
            return
        pause = self._spec.seconds_before_retry
        self._context.screen.say(f"{self._spec.stage}: {count} inputs failed and are tried again in {pause:g} s")
        await asyncio.sleep(pause)
        await self._try_all(lambda number: (each.given for each in failed[number]), count, 0)

    def _write_failures(self) -> None:
        """Stop if too many inputs failed twice; otherwise write them to the journal as rejects."""
        for stream, failures in zip(self._streams, self._failures, strict=True):
            check_failed(stream.name, failures.failed, self._total, self._spec.max_failed_fraction)
        for failures in self._failures:
            for given, result in (*failures.failed, *failures.refused):
                self._write(given, result)

    def _write(self, given: StreamInput[In], result: RowResult[Out]) -> None:
        key = given.record.id
        rows, rejects, found = filter_rows(self._context.privacy, self._spec, key, result.rows, result.rejects)
        self._journal.add(given.position, key, rows, rejects, found.as_json() if found else None)
