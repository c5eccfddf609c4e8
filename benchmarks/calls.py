"""Calls a second: spavl's whole path, ledger and all, against bare aiohttp and the openai SDK.

All three ask the same server the same questions, as many at once, each with an image of its own or with
none. The server is a process of its own that answers after 10 ms with as little work as a server can do,
so that what is measured is the client. Ours does what a stage does: the key, the ledger, the spend stop,
retries, the pace, and an answer counts only once it is on disk through a power cut. The peers keep nothing.
"""

import asyncio
import base64
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import NamedTuple

import aiohttp
from benchmarks.serving import served
from openai import AsyncOpenAI

from spavl.engine import map_shards
from spavl.miniature.world import draw, png, scene
from spavl.models.factory import ModelFactory
from spavl.models.types import ImageData, Message, Request
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.models.wrappers.stack import Budget
from spavl.store import Ledger

IN_FLIGHT, ROUNDS = (64, 256, 1024), 5
# A round of ours and of aiohttp takes a second or two; the SDK is given fewer calls to take as long.
CALLS, CALLS_OF_SDK = 6000, 1000
IMAGES = [ImageData.of(png(draw(scene(k % 53, k // 53, 9, live=True)))) for k in range(106)]
ANSWER = "an answer of the usual length " * 4
NAME, MOST = "served", 64
_fresh = count()


class Asked(NamedTuple):
    text: str
    image: ImageData | None


def questions(calls: int, images: bool) -> list[Asked]:
    """No two are alike in the whole run, so nothing can be answered from memory. An image has three questions."""
    numbers = [next(_fresh) for _ in range(calls)]
    return [Asked(f"question {n}", IMAGES[n // 3 % len(IMAGES)] if images else None) for n in numbers]


def check(answer: str) -> None:
    if answer != ANSWER:
        raise SystemExit("a wrong answer")


Ask = Callable[[Asked], Awaitable[str]]


async def all_at_once(ask: Ask, asked: Sequence[Asked], in_flight: int) -> float:
    """Seconds a call, `in_flight` at a time."""
    left: Iterator[Asked] = iter(asked)

    async def worker() -> None:
        for each in left:
            check(await ask(each))

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return (time.perf_counter() - began) / len(asked)


async def by_spavl(url: str, asked: Sequence[Asked], in_flight: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        factory = ModelFactory(ledger, Budget(1e6), PaceConfig(at_once=in_flight), {NAME: (1.0, 1.0)})
        model = factory.open(f"openai/{NAME}@{url}", "responses")

        async def ask(each: Asked) -> str:
            message = Message("user", each.text, (each.image,) if each.image else ())
            return (await model.ask(Request((message,), max_tokens=MOST))).text

        began = time.perf_counter()
        # As many at the server at once; those that are on their way to the disk are not in flight.
        async for _, answer in map_shards(asked, ask, 2 * in_flight):
            check(answer)
        seconds = (time.perf_counter() - began) / len(asked)
        await factory.close()
        if ledger.totals()["calls"] != len(asked):
            raise SystemExit("a call is not in the ledger")
        ledger.close()
    return seconds


def messages(each: Asked) -> list[dict[str, object]]:
    """As anyone would write them."""
    if each.image is None:
        return [{"role": "user", "content": each.text}]
    url = "data:image/png;base64," + base64.b64encode(each.image.data).decode()
    image = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [image, {"type": "text", "text": each.text}]}]


async def by_aiohttp(url: str, asked: Sequence[Asked], in_flight: int) -> float:
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(each: Asked) -> str:
            body = {"model": NAME, "messages": messages(each), "max_tokens": MOST, "temperature": 0.0, "seed": 0}
            async with session.post(f"{url}/chat/completions", json=body) as answer:
                return str((await answer.json())["choices"][0]["message"]["content"])

        return await all_at_once(ask, asked, in_flight)


async def by_openai(url: str, asked: Sequence[Asked], in_flight: int) -> float:
    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(each: Asked) -> str:
            answer = await client.chat.completions.create(
                model=NAME, messages=messages(each), max_tokens=MOST, temperature=0.0, seed=0
            )
            return str(answer.choices[0].message.content)

        return await all_at_once(ask, asked, in_flight)


def _line(name: str, in_flight: int, images: bool, ours: list[float], theirs: list[float], peer: str) -> str:
    ratios = [their / our for our, their in zip(ours, theirs, strict=True)]
    told = {
        "name": name,
        "in_flight": in_flight,
        "images": images,
        "ratio": round(sum(theirs) / sum(ours), 2),
        "median": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "calls_per_second": round(1 / statistics.median(ours)),
        "peer": peer,
    }
    return json.dumps(told)


def measure(url: str, in_flight: int, images: bool) -> None:
    ours, bare, sdk = list[float](), list[float](), list[float]()
    for number in range(ROUNDS + 1):
        sides = [(by_spavl, CALLS, ours), (by_aiohttp, CALLS, bare), (by_openai, CALLS_OF_SDK, sdk)]
        # Whoever goes first may find the machine in another state, so they take turns in that too.
        for side, calls, seconds in sides if number % 2 else reversed(sides):
            seconds.append(asyncio.run(side(url, questions(max(calls, in_flight), images), in_flight)))
    # The first round warmed up.
    print(_line("calls_vs_aiohttp", in_flight, images, ours[1:], bare[1:], f"aiohttp {version('aiohttp')}"))
    print(_line("calls_vs_openai", in_flight, images, ours[1:], sdk[1:], f"openai {version('openai')}"), flush=True)


def main() -> None:
    with served(ANSWER) as url:
        for in_flight in IN_FLIGHT:
            for images in (True, False):
                measure(url, in_flight, images)


if __name__ == "__main__":
    main()
