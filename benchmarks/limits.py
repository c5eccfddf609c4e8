"""How much of a server's limit is used, with nothing set: spavl's pace and the openai SDK against buckets and windows.

The server is a process of its own with a true token bucket, or a window that is renewed at once, which answers 429 when
nothing is left. Each side asks for `--seconds` with many rows in work. `ratio` is the answered calls over those which
the limit gives in that time, its burst included: 1 is all that there is. `refused` is the share that met a 429.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from openai import APIError, AsyncOpenAI

from spavl.models.factory import ModelFactory
from spavl.models.types import ask_about
from spavl.store import Ledger

WORKERS, NAME = 400, "limited"


class Shape(NamedTuple):
    """So many a second, so many saved up; a window gives its whole share at once instead."""

    per_second: float
    burst: float
    latency: float
    window: float = 0.0
    tells: str = ""


SHAPES = {
    "100/s, burst 20, latency 1 s": Shape(100, 20, 1.0),
    "100/s, burst 20, Retry-After in whole seconds": Shape(100, 20, 1.0, tells="whole seconds"),
    "20/s, burst 20": Shape(20, 20, 1.0),
    "20/s, burst 5, x-ratelimit headers": Shape(20, 5, 0.3, tells="headers"),
    "600 a minute, any time": Shape(10, 600, 1.0),
    "600 a minute, any time, x-ratelimit headers": Shape(10, 600, 1.0, tells="headers"),
    "50 in each second": Shape(50, 0, 0.3, window=1.0),
}


async def serve(shape: Shape) -> None:
    left, at = shape.burst if not shape.window else shape.per_second * shape.window, time.monotonic()
    counts = {"taken": 0, "refused": 0}

    async def complete(_: web.Request) -> web.Response:
        nonlocal left, at
        now, full = time.monotonic(), shape.burst if not shape.window else shape.per_second * shape.window
        if shape.window:
            left = full if now // shape.window != at // shape.window else left
        else:
            left = min(full, left + shape.per_second * (now - at))
        at, taken = now, left >= 1
        left -= taken
        counts["taken" if taken else "refused"] += 1
        headers = {}
        if shape.tells == "headers":
            rest = shape.window - now % shape.window if shape.window else (full - left) / shape.per_second
            told = {"Limit": f"{full:.0f}", "Remaining": f"{int(left)}", "Reset": f"{rest * 1000:.0f}ms"}
            headers = {f"X-RateLimit-{name}-Requests": value for name, value in told.items()}
        if not taken:
            if shape.tells == "whole seconds":
                headers["Retry-After"] = str(int((1 - left) / shape.per_second) + 1)
            return web.json_response({"error": {"message": "too many requests"}}, status=429, headers=headers)
        await asyncio.sleep(shape.latency)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
        told = {"object": "chat.completion", "id": "x", "created": 0, "model": NAME, "choices": [choice]}
        return web.json_response(told, headers=headers)

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(counts)

    app = web.Application()
    app.router.add_get("/v1/models", lambda _: web.json_response({"data": []}))
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/counts", tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


@contextlib.contextmanager
def served(name: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.limits", "--serve", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None and server.stdout is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


Ask = Callable[[str], Awaitable[object]]


async def asked_for(ask: Ask, seconds: float) -> int:
    """How many are answered in that time, with so many rows in work."""
    answered = 0

    async def worker(number: int) -> None:
        nonlocal answered
        turn = 0
        while True:
            turn += 1
            with contextlib.suppress(APIError):
                await ask(f"{number} {turn}")
                answered += 1

    workers = [asyncio.ensure_future(worker(number)) for number in range(WORKERS)]
    await asyncio.sleep(seconds)
    for each in workers:
        each.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return answered


async def by_spavl(url: str, seconds: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        factory = ModelFactory(ledger)
        model = factory.open(f"openai/{NAME}@{url}", "responses")
        answered = await asked_for(lambda text: model.ask(ask_about(None, text, max_tokens=8)), seconds)
        await factory.close()
        ledger.close()
    return answered


async def by_openai(url: str, seconds: float) -> int:
    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        def ask(text: str) -> Awaitable[object]:
            message: Any = {"role": "user", "content": text}
            return client.chat.completions.create(model=NAME, messages=[message], max_tokens=8)

        return await asked_for(ask, seconds)


async def counts_of(url: str) -> dict[str, int]:
    async with aiohttp.ClientSession() as session, session.get(url.removesuffix("/v1") + "/counts") as told:
        return dict(await told.json())


def measure(name: str, seconds: float) -> None:
    shape = SHAPES[name]
    most = shape.per_second * seconds + (shape.per_second * shape.window or shape.burst)
    for side, who in ((by_spavl, "spavl"), (by_openai, f"openai {version('openai')}")):
        with served(name) as url:
            asyncio.run(side(url, seconds))
            counts = asyncio.run(counts_of(url))
        told = {
            "name": f"limits: {name}",
            "who": who,
            "ratio": round(counts["taken"] / most, 2),
            "per_second": round(counts["taken"] / seconds, 1),
            "refused": round(counts["refused"] / max(1, sum(counts.values())), 3),
            "seconds": seconds,
            "peer": "the limit itself",
        }
        print(json.dumps(told), flush=True)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--serve", choices=SHAPES)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--only", choices=SHAPES)
    given = options.parse_args()
    if given.serve:
        asyncio.run(serve(SHAPES[given.serve]))
        return
    for name in [given.only] if given.only else SHAPES:
        measure(name, given.seconds)


if __name__ == "__main__":
    main()
