"""Invariants of asking a pool: nobody is held up by another, and a pool tells all that it lacks."""

import asyncio
import functools
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.cli.main import main
from spavl.data.responses.config import ResponsesConfig
from spavl.data.responses.pool import SHIPPED, lacks, members, read_pool
from spavl.data.responses.run import responders_of
from spavl.data.responses.run import run as ask_the_pool
from spavl.engine import map_streams
from spavl.errors import ConfigError, GateError
from spavl.miniature.world import draw, png, scene
from spavl.models.factory import ModelFactory
from spavl.models.wrappers.stack import Retrying
from spavl.pipeline.build import run_build
from spavl.pipeline.settings import read_config
from spavl.records import Image, Question, Response
from spavl.stages.context import StageContext
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.records import filled
from tests.support.servers import Body, ChatServer, completion, echo, fault

PATIENCE = 30.0


# --- streams


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 4))
def test_every_key_of_every_stream_is_done_once(sizes: list[int], in_flight: int) -> None:
    async def walk() -> list[tuple[tuple[int, int], tuple[int, int]]]:
        streams = [[(stream, number) for number in range(size)] for stream, size in enumerate(sizes)]
        return [pair async for pair in map_streams(streams, done_at_once, in_flight)]

    async def done_at_once(key: tuple[int, int]) -> tuple[int, int]:
        await asyncio.sleep(0)
        return key

    walked = asyncio.run(walk())
    assert all(key == result for key, result in walked)
    assert sorted(key for key, _ in walked) == [(stream, n) for stream, size in enumerate(sizes) for n in range(size)]


def test_a_stream_that_stands_still_holds_up_no_other_and_draws_no_more_than_its_places() -> None:
    """The slow stream may not move until the fast ones are through all of theirs: shared places would wait for ever."""
    number, in_flight = 500, 4
    drawn: Counter[int] = Counter()
    left: Counter[int] = Counter()

    def stream(which: int) -> Any:
        for key in range(number):
            drawn[which] += 1
            assert drawn[which] - left[which] <= in_flight, "keys were drawn faster than results left"
            yield which, key

    async def walk() -> None:
        others_done = asyncio.Event()

        async def work(key: tuple[int, int]) -> None:
            if key[0] == 0:
                await others_done.wait()

        async for key, _ in map_streams([stream(0), stream(1), stream(2)], work, in_flight):
            left[key[0]] += 1
            if left[1] == left[2] == number:
                others_done.set()

    asyncio.run(asyncio.wait_for(walk(), PATIENCE))
    assert set(left.values()) == {number}


# --- the stage, with real servers


QUESTIONS = 40


def asked(run: RunFolder, settings: ResponsesConfig) -> list[Response]:
    """The rows of a stage that asks about one image, with four places for each responder."""

    async def ask() -> None:
        models = ModelFactory(run.ledger)
        try:
            await ask_the_pool(StageContext(run, settings, 3, models, Screen(), in_flight=4))
        finally:
            await models.close()

    image = filled(Image, blob=run.blobs.put(png(draw(scene(0, 0, 0, True)))), split="train")
    questions = [filled(Question, image_id=image.id, text=f"question {n}") for n in range(QUESTIONS)]
    run.write_rows("selection", Image, [image])
    run.write_rows("questions", Question, questions)
    asyncio.run(ask())
    return list(run.read("responses", Response))


def test_a_slow_responder_leaves_the_fast_ones_alone(run: RunFolder) -> None:
    """The slow server answers nothing until the two fast ones have answered every question."""
    heard: Counter[str] = Counter()

    def quickly(body: Body) -> str:
        heard[body["model"]] += 1
        return echo(body)

    async def slowly(body: Body) -> str:
        began = time.monotonic()
        while min(heard["quick"], heard["brisk"]) < QUESTIONS:
            assert time.monotonic() - began < PATIENCE, "the fast ones were held up by the slow one"
            await asyncio.sleep(0.01)
        return echo(body)

    with ChatServer(quickly) as fast, ChatServer(slowly) as slow:
        models = (f"openai/quick@{fast.url}", f"openai/slow@{slow.url}", f"openai/brisk@{fast.url}")
        rows = asked(run, ResponsesConfig(models=models))
    questions = [question.id for question in run.read("questions", Question)]
    names = ("openai/quick", "openai/slow", "openai/brisk")
    assert [(row.question_id, row.model) for row in rows] == [(each, name) for each in questions for name in names]


def test_an_ill_responder_stops_the_stage_only_after_the_others_are_through(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.models.factory.Retrying", functools.partial(Retrying, tries=1))
    with ChatServer(lambda body: fault(500) if body["model"] == "ill" else echo(body)) as server:
        models = tuple(f"openai/{name}@{server.url}" for name in ("ill", "well"))
        with pytest.raises(GateError) as told:
            asked(run, ResponsesConfig(models=models))
    assert "openai/ill" in told.value.where
    assert server.answered.total() == QUESTIONS


def test_a_refusal_is_kept_and_paid_for_once(run: RunFolder) -> None:
    with ChatServer(lambda _: completion("", finish="content_filter")) as server:
        settings = ResponsesConfig(models=(f"openai/a@{server.url}", f"openai/b@{server.url}"))
        rows = asked(run, settings)
        assert {row.finish for row in rows} == {"refused"} and len(rows) == 2 * QUESTIONS
        run.forget("responses")
        assert asked(run, settings) == rows
        assert set(server.seen.values()) == {1}


def test_how_it_was_asked_is_kept_with_every_answer(run: RunFolder, tmp_path: Path) -> None:
    pool = tmp_path / "pool.toml"
    with ChatServer(echo) as server:
        pool.write_text(
            f'name = "p"\n[[responder]]\nname = "one"\nmodel = "openai/m@{server.url}"\ntemperature = 0.0\n'
            f'system = "be brief"\n[[responder]]\nname = "two"\nmodel = "openai/m@"\n'
        )
        settings = ResponsesConfig(pool=str(pool), addresses={"two": server.url}, temperature=0.5, max_tokens=9)
        rows = asked(run, settings)
    usual = ("top_p=1.0", "max_tokens=9", "seed=3")
    kept = {row.model: row.decoding for row in rows}
    assert kept == {"one": ("temperature=0.0", *usual, "system=be brief"), "two": ("temperature=0.5", *usual)}
    spoken = {(body["temperature"], body["messages"][0]["role"]) for body in server.bodies.values()}
    assert spoken == {(0.0, "system"), (0.5, "user")}


# --- pools


@pytest.mark.parametrize("name", SHIPPED)
def test_a_pool_that_ships_has_twelve_and_tells_all_that_it_lacks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "SPAVL_API_KEY_GENERATIVELANGUAGE_GOOGLEAPIS_COM"):
        monkeypatch.delenv(variable, raising=False)
    pool = read_pool(name)
    assert len(pool.responder) == 12
    lacking = [responder for responder in pool.responder if lacks(responder)]
    with pytest.raises(ConfigError) as told:
        responders_of(ResponsesConfig(pool=name))
    assert all(f'"{each.name}"' in told.value.then or lacks(each) in told.value.then for each in lacking)
    # What it says can be typed: filled in, it lacks nothing more.
    addresses = {r.name: "http://127.0.0.1:1/v1" for r in lacking if r.model.endswith("@")}
    without = tuple(r.name for r in lacking if r.name not in addresses)
    found = responders_of(ResponsesConfig(pool=name, addresses=addresses, without=without))
    assert [r.name for r in found] == [r.name for r in pool.responder if r.name not in without]
    assert all(r.model.endswith("@http://127.0.0.1:1/v1") for r in found if r.name in addresses)


def test_a_responder_that_is_not_in_the_pool_is_a_slip_of_the_fingers() -> None:
    pool = read_pool("modern-12")
    with pytest.raises(ConfigError, match="no 'molmo'"):
        members(pool, {}, ["molmo"])
    with pytest.raises(ConfigError, match="no 'molmo'"):
        members(pool, {"molmo": "http://127.0.0.1:1/v1"}, [])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = 3", "name"),
        ('name = "p"', "responder"),
        ('name = "p"\n[[responder]]\nname = "a"\nmodel = "openai/m"\ntemprature = 1', "temprature"),
        ('name = "p"\n' + '[[responder]]\nname = "a"\nmodel = "openai/m"\n' * 2, "two responders are named 'a'"),
        ("name = ", "not a TOML file"),
    ],
)
def test_a_pool_with_a_fault_says_which(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "pool.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=fault):
        read_pool(str(file))


def test_a_pool_can_be_shown_and_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pool", "show", "spa-vl-2024"]) == 0
    shown = capsys.readouterr().out
    assert "12 responders, 0 ready" in shown and shown.count("lacks an address") == 10 and shown.count("gone") >= 2
    mine = tmp_path / "mine.toml"
    assert main(["pool", "new", str(mine), "--like", "spa-vl-2024"]) == 0
    assert read_pool(str(mine)) == read_pool("spa-vl-2024")
    assert main(["pool", "new", str(mine)]) == 2, "nothing is written over"


def test_what_a_pool_lacks_is_told_before_anything_is_paid_for(tmp_path: Path) -> None:
    config = read_config({"responses": {"pool": "spa-vl-2024"}}, {}, "a test")
    with pytest.raises(ConfigError, match="12 of the 12"):
        asyncio.run(run_build(config, tmp_path, None, Screen()))
    assert not list(tmp_path.glob("tables/*"))
