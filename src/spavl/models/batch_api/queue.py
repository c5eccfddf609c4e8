"""Calls through a server's batch API, at half the price: requests are collected, sent as files, and return in a day.

A row that asks a model of batches does not wait for it. Its request goes into the outbox, the row
is parked, and memory stays flat however many there are. When all rows have been gone through, the
files are sent and the answers awaited; they enter the ledger under the keys that were sent with
them, and the parked rows are done again: what they asked before, the ledger knows.
"""

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from spavl.errors import ConfigError, ProviderError
from spavl.models.backends.openai import OpenAIModel
from spavl.models.backends.openai_replies import not_taken, read_reply, status_within
from spavl.models.batch_api.server import BatchServer, BatchStatus, lines_of
from spavl.models.names import without_addresses
from spavl.models.prices import FREE, Price
from spavl.models.types import Deferred, Rejected, Reply, Request, Transient
from spavl.models.wrappers.rate_limit import BatchConfig
from spavl.models.wrappers.stack import Budget, most_of
from spavl.models.wrappers.thinking import ROOM, ThinkingHabits, is_too_long
from spavl.records import canonical_json
from spavl.store import Call, Ledger, LostCall, RunFolder
from spavl.store.outbox import Outbox, ProviderBatch, QueuedRequest

HALF = 0.5
OUTBOX = "batches.sqlite"
_TRIES = 7
_FIRST_LOOK, _LONGEST_LOOK = 1.0, 60.0
_AT_ONCE = 256
# After so many quarterings of its room for thoughts a request has next to none.
_LESS_ROOM = 3
_TRANSIENT = (408, 409, 425, 429)


# How servers say that a file, or all that is queued, is more than they take.
_TOO_MUCH = re.compile(r"limit|exceed|maximum|too (many|large|big)|HTTP 413", re.IGNORECASE)

Tell = Callable[[str], None]


class BatchQueue:
    """All batches of a run: one file being written for each model, and those that are under way."""

    def __init__(self, folder: Path, ledger: Ledger, budget: Budget, settings: BatchConfig) -> None:
        self._folder, self._ledger, self._budget, self._settings = folder, ledger, budget, settings
        folder.mkdir(parents=True, exist_ok=True)
        for unsent in folder.glob("batch-*.jsonl"):
            unsent.unlink()
        self._outbox = Outbox(folder / OUTBOX)
        self._budget.hold_again(self._outbox.held())
        self._batch_files: dict[str, BatchFile] = {}
        self._tries: Counter[str] = Counter()
        # Batches that their server had no room for; they are begun again when others have come back.
        self._no_room: set[int] = set()

    def open(
        self, backend: OpenAIModel, price: Price | None, model: str, stage: str, habits: ThinkingHabits | None = None
    ) -> "BatchedModel":
        if backend.name not in self._batch_files:
            file = self._folder / f"batch-{len(self._batch_files)}.jsonl"
            self._batch_files[backend.name] = BatchFile(
                backend, BatchServer(backend), price, model, file, self._settings.requests
            )
        return BatchedModel(self, self._batch_files[backend.name], stage, habits or ThinkingHabits(room=0))

    async def post(self, batch_file: "BatchFile", request: Request, stage: str, room: int = 0) -> None:
        """Put a request into its model's next file, if it is not under way already.

        `room` for thoughts is sent and paid; the key stays that of the request without it, as if asked at once.
        """
        key = request.key(batch_file.backend.name)
        if self._outbox.holds(key):
            return
        if self._tries[key] >= _TRIES:
            raise Transient(f"failed in {_TRIES} batches")
        room >>= 2 * batch_file.too_long[key]
        batch_file.has_given_room |= room > 0
        sent = replace(request, max_tokens=request.max_tokens + room)
        body = json.loads(batch_file.backend.body(sent, batch_file.backend.without))
        line = json.dumps({"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": body}) + "\n"
        largest = self._settings.megabytes * 1e6
        if len(line) > largest:
            raise Rejected(f"a request of {len(line):,} bytes is larger than a file of a batch may be")
        if batch_file.requests >= batch_file.most or batch_file.bytes + len(line) > largest:
            await self._send(batch_file)
        most = 0.0 if batch_file.price is None else most_of(sent, batch_file.model, batch_file.price)
        self._budget.hold(most)
        self._outbox.add(QueuedRequest(key, batch_file.backend.name, canonical_json(request.canonical()), stage, most))
        batch_file.write(line)

    async def collect(self, tell: Tell) -> None:
        """Send what waits, and return when all that is under way has come back."""
        for batch_file in self._batch_files.values():
            if batch_file.requests:
                await self._send(batch_file)
        try:
            await self._await_all(tell)
        except Rejected as error:
            then = "see what its server says of its batches, put it right and type the same command"
            raise ProviderError(f"a server of batches refused: {error}", then=then) from None

    async def _await_all(self, tell: Tell) -> None:
        wait, under_way = _FIRST_LOOK, self._outbox.batches()
        while under_way:
            done, still = 0, list[ProviderBatch]()
            for batch in under_way:
                if batch.model not in self._batch_files:
                    continue  # this stage does not ask its model; it waits for one that does
                if batch.number in self._no_room and not self._batch_files[batch.model].room:
                    still.append(batch)
                    continue
                known, standing = await self._look(batch)
                if standing.is_over and await self._take_in(known, standing):
                    self._batch_files[batch.model].room = True
                else:
                    still.append(known)
                    done += standing.done
            under_way = still
            if still:
                tell(f"{len(still)} batches under way, {done:,} of {self._outbox.counts()[1]:,} answered")
                await asyncio.sleep(wait)
                wait = min(_LONGEST_LOOK, wait * 1.5)

    def models_under_way(self) -> set[str]:
        return {batch.model for batch in self._outbox.batches()}

    async def close(self) -> None:
        for batch_file in self._batch_files.values():
            await batch_file.server.close()
            batch_file.discard()
        self._outbox.close()

    async def _send(self, batch_file: "BatchFile") -> None:
        batch_file.finish()
        try:
            file_id = await batch_file.server.upload(batch_file.file)
        except Rejected as error:
            self._divide(batch_file, self._outbox.unsent(batch_file.backend.name), str(error))
            self._outbox.forget_unsent(batch_file.backend.name)
            batch_file.discard()
            return
        batch = self._outbox.begin(batch_file.backend.name, file_id)
        batch_file.discard()
        standing = await batch_file.server.begin(file_id)
        if standing.batch_id:
            self._outbox.name(batch, standing.batch_id)

    async def _look(self, batch: ProviderBatch) -> tuple[ProviderBatch, BatchStatus]:
        batch_file = self._batch_files[batch.model]
        server = batch_file.server
        if batch.number in self._no_room:
            self._no_room.remove(batch.number)
            batch_file.room = False
            standing = await server.begin(batch.file_id)
        elif batch.batch_id:
            return batch, await server.look(batch.batch_id)
        else:
            # A crash came between asking for it and hearing its name.
            standing = await server.find(batch.file_id) or await server.begin(batch.file_id)
        return self._outbox.name(batch, standing.batch_id), standing

    async def _take_in(self, batch: ProviderBatch, standing: BatchStatus) -> bool:
        """Whether the batch is done with; one that its server had no room for is not."""
        batch_file = self._batch_files[batch.model]
        for file_id in standing.files:
            answers = self._folder / f"batch-answers-{batch.number}.jsonl"
            try:
                await batch_file.server.download(file_id, answers)
                await self._read(batch, batch_file, answers)
            finally:
                answers.unlink(missing_ok=True)
        missing = self._outbox.left(batch)
        if standing.status == "failed":
            queued = [other for other in self._outbox.batches() if other.model == batch.model]
            others = any(other.number not in {batch.number, *self._no_room} for other in queued)
            if others and _too_much(standing.fault):
                self._no_room.add(batch.number)
                return False
            self._outbox.end(batch)
            self._divide(batch_file, missing, standing.fault, f"{batch.model}, {batch.batch_id}")
        else:
            self._outbox.end(batch)
            self._tries.update(key for key, _ in missing)
            for _, most in missing:
                self._budget.release(most, 0.0)
        with contextlib.suppress(Exception):
            await batch_file.server.delete(batch.file_id)
        return True

    def _divide(
        self, batch_file: "BatchFile", missing: Sequence[tuple[str, float]], fault: str, where: str = ""
    ) -> None:
        """A file that is more than its server takes: what is in it is asked for again, in files of half its size."""
        for _, most in missing:
            self._budget.release(most, 0.0)
        if len(missing) < 2 or not _too_much(fault):
            then = "see what the server says of this batch, put it right and type the same command"
            raise ProviderError(f"a batch failed: {fault}", where=where or batch_file.backend.name, then=then)
        batch_file.most = min(batch_file.most, len(missing) // 2)

    async def _read(self, batch: ProviderBatch, batch_file: "BatchFile", answers: Path) -> None:
        group: dict[str, dict[str, Any]] = {}
        for line in lines_of(answers):
            if isinstance(line.get("custom_id"), str):
                group[line["custom_id"]] = line
            if len(group) == _AT_ONCE:
                await self._book(batch, batch_file, group)
                group = {}
        await self._book(batch, batch_file, group)

    async def _book(self, batch: ProviderBatch, batch_file: "BatchFile", lines: dict[str, dict[str, Any]]) -> None:
        """Write answers into the ledger, each under the key it was asked with, and only then take them as come."""
        booked: list[QueuedRequest] = []
        calls: list[Call] = []
        losses: list[LostCall] = []
        for posted in self._outbox.posted(batch, lines):
            try:
                call = _call(posted, batch_file, lines[posted.key])
            except Transient as error:
                # It is asked again, and what cannot be read may be billed all the same.
                if error.may_cost and posted.most:
                    losses.append(LostCall(model=posted.model, stage=posted.stage, usd=posted.most, at=time.time()))
                continue
            booked.append(posted)
            # A crash may have come between the ledger and the outbox.
            if self._ledger.get(posted.key) is None:
                calls.append(call)
        await asyncio.gather(*map(self._ledger.put, calls), *map(self._ledger.put, losses))
        self._budget.spent += sum(loss.usd for loss in losses)
        self._outbox.answered(posted.key for posted in booked)
        paid = {call.key: call.usd for call in calls}
        for posted in booked:
            self._budget.release(posted.most, paid.get(posted.key, 0.0))


class BatchFile:
    """One model, its server, and the file of its next batch."""

    def __init__(
        self, backend: OpenAIModel, server: BatchServer, price: Price | None, model: str, file: Path, most: int
    ) -> None:
        self.backend, self.server, self.price, self.model, self.file = backend, server, price, model, file
        # Requests in a file, as many as its server takes.
        self.most = most
        # Whether a batch has come back since the server last had no room for another.
        self.room = False
        self.requests = self.bytes = 0
        # Whether requests had room for thoughts beside their answers, and how often each had too much of it.
        self.has_given_room = False
        self.too_long: Counter[str] = Counter()
        # While a file is on its way, nothing is put into the next one.
        self.turn = asyncio.Lock()
        self._stream: IO[str] | None = None

    def write(self, line: str) -> None:
        if self._stream is None:
            self._stream = self.file.open("w")
        self._stream.write(line)
        self.requests += 1
        self.bytes += len(line)

    def finish(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def discard(self) -> None:
        self.finish()
        self.file.unlink(missing_ok=True)
        self._stream, self.requests, self.bytes = None, 0, 0


class BatchedModel:
    """A model that answers at its next asking: it queues the request and defers the row that made it."""

    def __init__(self, queue: BatchQueue, batch_file: BatchFile, stage: str, habits: ThinkingHabits) -> None:
        self.name = batch_file.backend.name
        self._queue, self._batch_file, self._stage, self._habits = queue, batch_file, stage, habits

    async def ask(self, request: Request) -> Reply:
        async with self._batch_file.turn:
            room = self._habits.room if self._habits.thinks else 0
            await self._queue.post(self._batch_file, request, self._stage, room)
        raise Deferred


def _too_much(fault: str) -> bool:
    return _TOO_MUCH.search(fault) is not None


def _call(posted: QueuedRequest, batch_file: BatchFile, line: dict[str, Any]) -> Call:
    """The line in the ledger for a line of answers; Transient when it must be asked again."""
    response = line.get("response")
    if not isinstance(response, dict):
        raise Transient("no answer")
    status, body = response.get("status_code"), json.dumps(response.get("body")).encode()
    backend, status = batch_file.backend, status_within(body) if status == 200 else status
    if status == 200:
        # An earlier start may have given it room.
        reply, fault = read_reply(body, json.loads(posted.request)["max_tokens"] + ROOM), ""
    elif not isinstance(status, int) or status >= 500 or status in _TRANSIENT:
        raise Transient(f"HTTP {status}")
    elif name := not_taken(status, body, ()):
        backend.leave_out({name})
        raise Transient(f"asked with {name}")
    else:
        reply, fault = Reply("", "stop"), _reason(batch_file, status, body)
        if batch_file.has_given_room and batch_file.too_long[posted.key] < _LESS_ROOM and is_too_long(fault):
            batch_file.too_long[posted.key] += 1
            raise Transient(fault)
    price = batch_file.price or FREE
    used = price.of(reply.tokens_in, reply.tokens_out) if reply.tokens_in else posted.most
    return Call(
        key=posted.key,
        model=posted.model,
        request=posted.request,
        status="rejected" if fault else "ok" if reply.finish == "stop" else reply.finish,
        text=reply.text,
        detail=fault or " ".join(sorted(batch_file.backend.without)),
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        usd=0.0 if fault else used,
        seconds=0.0,
        at=time.time(),
        stage=posted.stage,
        reasoning=reply.reasoning,
        reasoning_tokens=reply.reasoning_tokens,
    )


def _reason(batch_file: BatchFile, status: int, body: bytes) -> str:
    try:
        batch_file.backend.raise_for(status, {}, body, key_is_good=True)
    except Rejected as error:
        return str(error)
    raise AssertionError


def open_batch_queue(batch: BatchConfig, run: RunFolder, budget: Budget) -> BatchQueue | None:
    folder = run.path / "ledger"
    if not batch.models and not (folder / OUTBOX).exists():
        return None
    queue = BatchQueue(folder, run.ledger, budget, batch)
    named = {without_addresses(name) for name in batch.models}
    if forgotten := queue.models_under_way() - named:
        then = "leave it among batch.models until its batches have come back, for they are paid"
        raise ConfigError(f"batches of {', '.join(sorted(forgotten))} are under way", where="batch.models", then=then)
    return queue
