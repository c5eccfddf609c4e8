"""Client of OpenAI's batch API, `/v1/files` and `/v1/batches`. Errors are those of single calls."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiohttp

from spavl.errors import ProviderError
from spavl.models.backends.openai import OpenAIModel, authorization, read_at_most, told_of
from spavl.models.types import RequestRejected, Transient
from spavl.text.safe_print import line
from spavl.text.secrets import body_without_keys

T = TypeVar("T")

_TIMEOUT = aiohttp.ClientTimeout(total=1800, sock_connect=10)
_WINDOW = "24h"
_TRIES, _FIRST_WAIT, _LONGEST_WAIT = 7, 0.5, 60.0
_PAGE = 100
# The most bytes of a response about batches, and of a line of an answer file.
_MOST_TOLD, _LONGEST_LINE = 2**24, 2**24


class BatchStatus(NamedTuple):
    """The state of a batch at its server."""

    batch_id: str
    status: str
    file_id: str
    done: int
    files: tuple[str, ...]
    fault: str

    @property
    def is_over(self) -> bool:
        return self.status in ("completed", "failed", "expired", "cancelled")


class BatchServer:
    """The batches of one model's server."""

    def __init__(self, backend: OpenAIModel) -> None:
        self._backend = backend
        self._session: aiohttp.ClientSession | None = None

    async def upload(self, file: Path) -> str:
        async def send() -> str:
            with file.open("rb") as stream:
                form = aiohttp.FormData({"purpose": "batch"})
                form.add_field("file", stream, filename="requests.jsonl", content_type="application/jsonl")
                return str((await self._json("POST", "/files", data=form))["id"])

        return await _until_it_works(send)

    async def begin(self, file_id: str) -> BatchStatus:
        """Start a batch of a file. If an earlier attempt got no answer but started a batch, return that batch."""
        body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": _WINDOW}
        tried = False

        async def send() -> BatchStatus:
            nonlocal tried
            if tried and (begun := await self._find(file_id)):
                return begun
            tried = True
            return _standing(await self._json("POST", "/batches", json=body))

        try:
            return await _until_it_works(send)
        except RequestRejected as error:
            return BatchStatus("", "failed", file_id, 0, (), str(error))

    async def find(self, file_id: str) -> BatchStatus | None:
        """The batch of this file; None if there is none."""
        return await _until_it_works(lambda: self._find(file_id))

    async def look(self, batch_id: str) -> BatchStatus:
        async def send() -> BatchStatus:
            return _standing(await self._json("GET", f"/batches/{batch_id}"))

        return await _until_it_works(send)

    async def download(self, file_id: str, to: Path) -> None:
        async def send() -> None:
            async with self._open("GET", f"/files/{file_id}/content") as answer:
                if answer.status != 200:
                    self._backend.raise_for(answer.status, answer.headers, await read_at_most(answer, _MOST_TOLD))
                with to.open("wb") as file:
                    begun = b""
                    async for part in answer.content.iter_chunked(2**20):
                        *lines, begun = (begun + part).split(b"\n")
                        file.writelines(body_without_keys(each) + b"\n" for each in lines)
                        if len(begun) > _LONGEST_LINE:
                            raise Transient(f"a line of more than {_LONGEST_LINE:,} bytes in a file of answers")
                    file.write(body_without_keys(begun))

        await _until_it_works(send)

    async def delete(self, file_id: str) -> None:
        """Request the deletion of a file. The response is ignored, since not every server deletes."""
        async with self._open("DELETE", f"/files/{file_id}"):
            pass

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _find(self, file_id: str) -> BatchStatus | None:
        """The batch of this file; a failed one only if there is no other."""
        after, failed = "", None
        while True:
            page = await self._json("GET", f"/batches?limit={_PAGE}" + (f"&after={after}" if after else ""))
            found = [_standing(batch) for batch in page["data"]]
            for standing in found:
                if standing.file_id == file_id and standing.status != "failed":
                    return standing
                if standing.file_id == file_id:
                    failed = standing
            if not page.get("has_more") or not found:
                return failed
            after = found[-1].batch_id

    async def _json(self, method: str, path: str, **sent: Any) -> Any:
        async with self._open(method, path, **sent) as answer:
            text = await read_at_most(answer, _MOST_TOLD)
            if answer.status not in (200, 201):
                self._backend.raise_for(answer.status, answer.headers, text)
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                raise Transient(f"an answer that is no JSON: {text[:80]!r}") from None

    def _open(self, method: str, path: str, **sent: Any) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, headers=authorization(self._backend.url))
        return self._session.request(method, self._backend.url + path, allow_redirects=False, **sent)


async def _until_it_works(send: Callable[[], Awaitable[T]]) -> T:
    for attempt in range(_TRIES):
        try:
            return await send()
        except (Transient, TimeoutError, aiohttp.ClientError, LookupError, TypeError) as error:
            if attempt + 1 == _TRIES:
                then = "type the same command later: batches under way are taken up again"
                told = line(error.reason) if isinstance(error, Transient) else told_of(error)
                what = f"a server of batches does not answer: {told}"
                raise ProviderError(what, then=then) from None
            wait = error.retry_after if isinstance(error, Transient) and error.retry_after else 0.0
            await asyncio.sleep(max(wait, min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)))
    raise AssertionError


def _standing(batch: Any) -> BatchStatus:
    counts, faults = batch.get("request_counts") or {}, (batch.get("errors") or {}).get("data") or []
    files = (batch.get("output_file_id"), batch.get("error_file_id"))
    return BatchStatus(
        batch_id=batch["id"],
        status=batch["status"],
        file_id=batch["input_file_id"],
        done=int(counts.get("completed") or 0) + int(counts.get("failed") or 0),
        files=tuple(file for file in files if file),
        fault=line("; ".join(f"{fault.get('code')}: {fault.get('message')}" for fault in faults)[:300]),
    )


def lines_of(file: Path) -> Iterator[dict[str, Any]]:
    """The lines of an answer file. Unreadable lines are skipped, and count as missing."""
    with file.open("rb") as stream:
        for line in stream:
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict):
                yield found
