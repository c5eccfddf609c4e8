"""Servers for tests: an OpenAI-compatible one that counts what it is asked, and a way to make it hostile.

In a thread of the test:

    with ChatServer(hostile(echo, share=0.3)) as server:
        ... f"openai/any@{server.url}" ...
        assert max(server.answered.values()) == 1

In a process of its own, which goes on counting while a client is killed and started again:

    python -m tests.support.servers --port 0 --faults 0.3

It prints its URL, tells its counts at `GET /seen`, and ends when its standard input does.
"""

import argparse
import asyncio
import contextlib
import hashlib
import inspect
import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from tests.support.repository import ROOT

Body = dict[str, Any]
Answer = Callable[[Body], str | web.Response | Awaitable[str | web.Response]]


class Reset(Exception):
    """Raised by an answer that wants the connection cut."""


def body_hash(body: Body) -> str:
    """The name of a request, the same for equal bodies in every process."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def echo(body: Body) -> str:
    return f"answer to {body_hash(body)}"


def completion(
    text: str | None, finish: str = "stop", usage: object = None, message: Body | None = None
) -> web.Response:
    choice = {"index": 0, "finish_reason": finish, "message": message or {"role": "assistant", "content": text}}
    told = {"object": "chat.completion", "model": "served", "choices": [choice], "usage": usage}
    return web.json_response(told)


def fault(status: int, message: str = "no", **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"error": {"message": message}}, status=status, headers=named)


def _reset() -> web.Response:
    raise Reset


# Every way of failing that may pass, by name.
FAULTS: dict[str, Callable[[], web.Response]] = {
    "429": lambda: fault(429, Retry_After="0"),
    "429, wait a little": lambda: fault(429, Retry_After="0.05"),
    "500": lambda: fault(500),
    "reset": _reset,
    "a web page": lambda: web.Response(text="<html>busy</html>", content_type="text/html"),
    "cut short": lambda: web.Response(text='{"choices": [{"message": {"con', content_type="application/json"),
    "no choices": lambda: web.json_response({"choices": []}),
}


def hostile(answer: Answer, share: float, seed: int = 0) -> Answer:
    """Fail at a share of the requests. Which ones depends on body, attempt and seed, not on their order."""
    attempts: Counter[str] = Counter()

    def moody(body: Body) -> str | web.Response | Awaitable[str | web.Response]:
        name = body_hash(body)
        attempts[name] += 1
        rng = random.Random(f"{seed}/{name}/{attempts[name]}")
        if rng.random() < share:
            return FAULTS[rng.choice(sorted(FAULTS))]()
        return answer(body)

    return moody


class ChatServer:
    """An OpenAI-compatible server on a free port of 127.0.0.1, in a thread and an event loop of its own.

    `seen` counts requests by the hash of their body, `answered` those of them that were answered well.
    """

    def __init__(
        self,
        answer: Answer = echo,
        *,
        models: Callable[[], web.Response] = lambda: web.json_response({"object": "list", "data": []}),
        usage: tuple[int, int] = (10, 5),
        port: int = 0,
    ) -> None:
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: dict[str, Body] = {}
        self.authorizations: set[str | None] = set()
        self.url = ""
        self._answer, self._models, self._port = answer, models, port
        self._usage = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "ChatServer":
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the test server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/seen", self._tell)
        self.add_routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def add_routes(self, app: web.Application) -> None:
        """For servers that can do more."""

    async def _list_models(self, request: web.Request) -> web.Response:
        self.authorizations.add(request.headers.get("Authorization"))
        return self._models()

    async def _complete(self, request: web.Request) -> web.Response:
        self.authorizations.add(request.headers.get("Authorization"))
        body = await request.json()
        name = body_hash(body)
        self.seen[name] += 1
        self.bodies[name] = body
        try:
            given = self._answer(body)
            answer = await given if inspect.isawaitable(given) else given
        except Reset:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if isinstance(answer, web.Response):
            return answer
        self.answered[name] += 1
        return completion(answer, usage=self._usage)

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response({"seen": self.seen, "answered": self.answered})


@contextlib.contextmanager
def server_process(*options: str) -> Iterator[str]:
    """The URL of a server in a process of its own. It ends with this block, however the block ends."""
    command = [sys.executable, "-m", "tests.support.servers", *options]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(10)


def main() -> None:
    options = argparse.ArgumentParser(description="A chat server for tests, with a deterministic answer.")
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--faults", type=float, default=0.0, help="share of requests that fail")
    options.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()

    async def slow_echo(body: Body) -> str:
        await asyncio.sleep(given.delay)
        return echo(body)

    with ChatServer(hostile(slow_echo, given.faults, given.seed), port=given.port) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
