"""Calls through a server's batch API, at half the price: requests are sent as files and answered within a day.

A row that asks a batched model does not wait for the answer. Its request is written to the outbox
and the row is deferred, so that memory does not grow with the number of requests. When all rows were
tried, the files are sent and the answers awaited. They are written to the ledger under the keys of
their requests, and the deferred rows are tried again: the ledger then has the answers.
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
from spavl.models.types import CallDeferred, Reply, Request, RequestRejected, Transient
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
# How often the room for thoughts of a request is divided by four. Hardly any is left then.
_LESS_ROOM = 3
_TRANSIENT = (408, 409, 425, 429)


# How servers report that a file, or the whole queue, is larger than they accept.
_TOO_MUCH = re.compile(r"limit|exceed|maximum|too (many|large|big)|HTTP 413", re.IGNORECASE)

Tell = Callable[[str], None]


class BatchQueue:
    """All batches of a run: for each model the file of its next batch, and the batches under way."""

    def __init__(self, folder: Path, ledger: Ledger, budget: Budget, settings: BatchConfig) -> None:
        self._folder, self._ledger, self._budget, self._settings = folder, ledger, budget, settings
        folder.mkdir(parents=True, exist_ok=True)
        for unsent in folder.glob("batch-*.jsonl"):
            unsent.unlink()
        self._outbox = Outbox(folder / OUTBOX)
        self._budget.hold_again(self._outbox.reserved_money())
        self._batch_files: dict[str, BatchFile] = {}
        self._tries: Counter[str] = Counter()
        # Batches for which the server had no room; they are started again when others have finished.
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
        """Add a request to its model's next file, unless it is under way already.

        `room` for thoughts is added to the token limit that is sent. The key is that of the request without it, the
        same as outside batches.
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
            raise RequestRejected(f"a request of {len(line):,} bytes is larger than a file of a batch may be")
        if batch_file.requests >= batch_file.most or batch_file.bytes + len(line) > largest:
            await self._send(batch_file)
        if batch_file.price is None:
            self._budget.refuse_unpriced(batch_file.backend.name)
        most = 0.0 if batch_file.price is None else most_of(sent, batch_file.model, batch_file.price)
        self._budget.hold(most)
        self._outbox.add(QueuedRequest(key, batch_file.backend.name, canonical_json(request.canonical()), stage, most))
        batch_file.write(line)

    async def collect(self, tell: Tell) -> None:
        """Send the waiting requests, and return when all batches of the models in use have finished."""
        for batch_file in self._batch_files.values():
            if batch_file.requests:
                await self._send(batch_file)
        try:
            await self._await_all(tell)
        except RequestRejected as error:
            then = "see what its server says of its batches, put it right and type the same command"
            raise ProviderError(f"a server of batches refused: {error}", then=then) from None

    async def _await_all(self, tell: Tell) -> None:
        wait, under_way = _FIRST_LOOK, self._outbox.batches()
        while under_way:
            done, still = 0, list[ProviderBatch]()
            for batch in under_way:
                if batch.model not in self._batch_files:
                    continue  # this stage does not ask the batch's model; a later stage will collect it
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
        except RequestRejected as error:
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
            # The process ended after it requested the batch and before it knew the id.
            standing = await server.find(batch.file_id) or await server.begin(batch.file_id)
        return self._outbox.name(batch, standing.batch_id), standing

    async def _take_in(self, batch: ProviderBatch, standing: BatchStatus) -> bool:
        """Read the answers of a finished batch. False if the server had no room for it, so that it is started again."""
        batch_file = self._batch_files[batch.model]
        for file_id in standing.files:
            answers = self._folder / f"batch-answers-{batch.number}.jsonl"
            try:
                await batch_file.server.download(file_id, answers)
                await self._read(batch, batch_file, answers)
            finally:
                answers.unlink(missing_ok=True)
        missing = self._outbox.reservations(batch)
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
        """Halve the file size after a batch was too large: its requests are sent again. Raises for other errors."""
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
        """Write answers to the ledger under the keys of their requests, then remove the requests from the outbox."""
        booked: list[QueuedRequest] = []
        calls: list[Call] = []
        losses: list[LostCall] = []
        for posted in self._outbox.queued_requests(batch, lines):
            try:
                call = _call(posted, batch_file, lines[posted.key])
            except Transient as error:
                # The request is sent again, but an unreadable answer may be billed too.
                if error.may_cost and posted.most:
                    losses.append(LostCall(model=posted.model, stage=posted.stage, usd=posted.most, at=time.time()))
                continue
            booked.append(posted)
            # The process may have ended between writing to the ledger and to the outbox.
            if self._ledger.get(posted.key) is None:
                calls.append(call)
        await asyncio.gather(*map(self._ledger.put, calls), *map(self._ledger.put, losses))
        self._budget.spent += sum(loss.usd for loss in losses)
        self._outbox.delete_answered(posted.key for posted in booked)
        paid = {call.key: call.usd for call in calls}
        for posted in booked:
            self._budget.release(posted.most, paid.get(posted.key, 0.0))


class BatchFile:
    """One model, its server, and the file of its next batch."""

    def __init__(
        self, backend: OpenAIModel, server: BatchServer, price: Price | None, model: str, file: Path, most: int
    ) -> None:
        self.backend, self.server, self.price, self.model, self.file = backend, server, price, model, file
        # The most requests in a file.
        self.most = most
        # Whether a batch has finished since the server last had no room.
        self.room = False
        self.requests = self.bytes = 0
        # Whether requests were given room for thoughts, and how often each was too long with it.
        self.has_given_room = False
        self.too_long: Counter[str] = Counter()
        # While a file is being sent, no request is added to the next one.
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
    """Queues each request and raises CallDeferred; when the row is tried again, the ledger has the answer."""

    def __init__(self, queue: BatchQueue, batch_file: BatchFile, stage: str, habits: ThinkingHabits) -> None:
        self.name = batch_file.backend.name
        self._queue, self._batch_file, self._stage, self._habits = queue, batch_file, stage, habits

    async def ask(self, request: Request) -> Reply:
        async with self._batch_file.turn:
            room = self._habits.room if self._habits.thinks else 0
            await self._queue.post(self._batch_file, request, self._stage, room)
        raise CallDeferred


def _too_much(fault: str) -> bool:
    return _TOO_MUCH.search(fault) is not None


def _call(posted: QueuedRequest, batch_file: BatchFile, line: dict[str, Any]) -> Call:
    """The ledger's call for a line of an answer file; raises Transient if the request must be sent again."""
    response = line.get("response")
    if not isinstance(response, dict):
        raise Transient("no answer")
    status, body = response.get("status_code"), json.dumps(response.get("body")).encode()
    backend, status = batch_file.backend, status_within(body) if status == 200 else status
    if status == 200:
        # The request may have been sent with room for thoughts by an earlier start.
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
    except RequestRejected as error:
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
