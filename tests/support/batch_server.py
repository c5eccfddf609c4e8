"""A loopback server with a batch API, OpenAI's `/v1/files` and `/v1/batches`, that has its moods.

It answers the lines of a file in another order than they came, fails some of them, lets some
batches expire half done, has room for so many lines in a file and in its queue, and counts which
lines it was paid for.
"""

import json
import random
from collections import Counter
from typing import Any

from aiohttp import web

from tests.support.servers import Answer, Body, ChatServer, fault


class BatchServer(ChatServer):
    """`paid` counts the lines that were answered well, by custom_id; `files` keeps what was uploaded."""

    def __init__(
        self,
        answer: Answer,
        *,
        looks: int = 2,
        expired: float = 0.0,
        failing: float = 0.0,
        file_lines: int = 10**6,
        queue_lines: int = 10**6,
    ) -> None:
        super().__init__(answer)
        self.file_lines, self.queue_lines = file_lines, queue_lines
        self.looks, self.expired, self.failing = looks, expired, failing
        self.files: dict[str, bytes] = {}
        self.uploads: list[bytes] = []
        self.batches: dict[str, Body] = {}
        self.paid: Counter[str] = Counter()
        self.rng = random.Random(0)
        # So many batches are begun while their client hears of a fault.
        self.lost_answers = 0

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_delete("/v1/files/{id}", self._delete)
        app.router.add_post("/v1/batches", self._begin)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._look)

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        field: Any = form["file"]
        name = f"file-{len(self.uploads)}"
        data = field.file.read()
        if data.count(b"\n") > self.file_lines:
            return fault(400, f"this file holds too many requests: the maximum is {self.file_lines}")
        self.files[name] = data
        self.uploads.append(self.files[name])
        return web.json_response({"id": name, "object": "file"})

    async def _delete(self, request: web.Request) -> web.Response:
        self.files.pop(request.match_info["id"], None)
        return web.json_response({"deleted": True})

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _begin(self, request: web.Request) -> web.Response:
        asked = await request.json()
        batch: Body = {
            "id": f"batch-{len(self.batches)}",
            "status": "validating",
            "input_file_id": asked["input_file_id"],
            "looks": 0,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
        }
        queued = [each for each in self.batches.values() if each["status"] in ("validating", "in_progress")]
        lines = sum(self.files[each["input_file_id"]].count(b"\n") for each in (*queued, batch))
        if lines > self.queue_lines:
            batch["status"] = batch["ended"] = "failed"
            told = f"Enqueued token limit reached for m. Limit: {self.queue_lines} enqueued tokens."
            batch["errors"] = {"data": [{"code": "token_limit_exceeded", "message": told}]}
        self.batches[batch["id"]] = batch
        if self.lost_answers:
            # The batch was begun, and nobody hears of it.
            self.lost_answers -= 1
            return fault(500)
        return web.json_response(batch)

    async def _list(self, request: web.Request) -> web.Response:
        names = list(reversed(self.batches))
        after = request.query.get("after")
        rest = names[names.index(after) + 1 :] if after else names
        page = rest[: min(2, int(request.query["limit"]))]
        return web.json_response({"data": [self.batches[name] for name in page], "has_more": len(rest) > len(page)})

    async def _look(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["looks"] += 1
        if batch["status"] == "failed":
            return web.json_response(batch)
        batch["status"] = "in_progress"
        if batch["looks"] >= self.looks:
            self._finish(batch)
        return web.json_response(batch)

    def _finish(self, batch: Body) -> None:
        if batch["status"] in ("completed", "expired") or "output_file_id" in batch:
            batch["status"] = batch["ended"]
            return
        lines = [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]
        self.rng.shuffle(lines)
        expires = self.rng.random() < self.expired
        good, bad = [], []
        for number, line in enumerate(lines):
            if expires and number % 2:
                bad.append({"custom_id": line["custom_id"], "response": None, "error": {"code": "batch_expired"}})
            elif self.rng.random() < self.failing:
                bad.append({"custom_id": line["custom_id"], "response": {"status_code": 500, "body": {}}})
            else:
                good.append(self._answered(line))
        batch["ended"] = batch["status"] = "expired" if expires else "completed"
        batch["output_file_id"], batch["error_file_id"] = f"out-{batch['id']}", f"bad-{batch['id']}"
        for name, found in (("output_file_id", good), ("error_file_id", bad)):
            self.files[batch[name]] = "".join(json.dumps(line) + "\n" for line in found).encode()

    def _answered(self, line: Body) -> Body:
        body = line["body"]
        answer = self._answer(body)
        assert isinstance(answer, web.Response)
        if answer.status == 200:
            self.paid[line["custom_id"]] += 1
        response = {"status_code": answer.status, "body": json.loads(answer.text or "")}
        return {"custom_id": line["custom_id"], "response": response, "error": None}
