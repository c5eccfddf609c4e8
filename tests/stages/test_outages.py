"""A server that was there and goes away is waited for; one that never was there is told of at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from spavl.data.taxonomy.config import TaxonomyConfig
from spavl.errors import GateError, ProviderError
from spavl.models.factory import ModelFactory
from spavl.models.types import Outage, Reply, Request, Transient, ask_about
from spavl.models.wrappers import outages
from spavl.models.wrappers.rate_limit import PaceConfig, RateLimiter
from spavl.models.wrappers.stack import Budget, RateLimited, Retrying
from spavl.records import Question, Response
from spavl.stages.context import RowResult, StageContext
from spavl.stages.runner import run_rows
from spavl.stages.spec import StageSpec
from spavl.store import Manifest, RunFolder
from spavl.terminal.progress import Screen
from tests.support.limited_servers import virtual_time
from tests.support.records import filled
from tests.support.servers import Body, ChatServer, echo, fault


class Leaving:
    """Answers in a tenth of a second, but for the time in which it is away."""

    name = "leaving"

    def __init__(self, away: tuple[float, float]) -> None:
        self._away, self.looks = away, 0

    async def ask(self, request: Request) -> Reply:
        await asyncio.sleep(0.1)
        if self._away[0] <= time.monotonic() < self._away[1]:
            self.looks += 1
            raise Transient("connection refused")
        return Reply("yes", "stop")


def ask_of(leaving: Leaving, calls: int, config: PaceConfig) -> tuple[list[Reply | BaseException], list[str], float]:
    said: list[str] = []
    with virtual_time() as loop:
        model = Retrying(RateLimited(leaving, RateLimiter(config, "leaving", said.append)))

        async def all_of_them() -> list[Reply | BaseException]:
            asked = (model.ask(ask_about(None, str(number))) for number in range(calls))
            return await asyncio.gather(*asked, return_exceptions=True)

        found = loop.run_until_complete(all_of_them())
        return found, said, loop.time() - 1000


def test_an_outage_of_ten_minutes_costs_no_input() -> None:
    leaving = Leaving((1000.5, 1600.0))
    found, said, seconds = ask_of(leaving, 3240, PaceConfig(at_once=64))
    assert found == [Reply("yes", "stop")] * 3240
    assert 600 < seconds < 660
    first, last = said
    assert first == "leaving no longer answers (connection refused): waiting for it, 30 min at most"
    assert last.startswith("leaving answers again after 10 min")
    # Nobody storms a server that is starting.
    assert leaving.looks < 3 * 64 + 60


def test_an_outage_of_the_last_input_is_waited_for_too() -> None:
    leaving = Leaving((1000.5, 1400.0))
    with virtual_time() as loop:
        model = Retrying(RateLimited(leaving, RateLimiter(PaceConfig())))

        async def one_after_the_other() -> None:
            for number in range(8):
                await model.ask(ask_about(None, str(number)))

        loop.run_until_complete(one_after_the_other())
        assert 1400 < loop.time() < 1430


def test_one_that_does_not_come_back_is_given_up_after_the_time_that_is_set() -> None:
    found, said, seconds = ask_of(Leaving((1000.5, 1e9)), 500, PaceConfig(at_once=64, wait_at_most=300))
    lost = [each for each in found if isinstance(each, Outage)]
    assert len(lost) > 200 and len(lost) + found.count(Reply("yes", "stop")) == 500
    assert all(each.given_up for each in lost)
    assert 300 < seconds < 330
    assert said[-1] == "leaving has not answered for 5 min, and is waited for no longer"


def test_one_that_never_answered_is_not_waited_for() -> None:
    found, said, seconds = ask_of(Leaving((0, 1e9)), 10, PaceConfig())
    assert all(isinstance(each, Transient) and not isinstance(each, Outage) for each in found)
    assert seconds < 120 and not said


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as folder:
        yield folder


def test_a_server_that_is_started_anew_goes_on_being_asked(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_SECONDS", 0.2)
    monkeypatch.setattr(outages, "_FIRST_LOOK", 0.1)
    said: list[str] = []

    async def through_a_restart() -> list[Reply]:
        with ChatServer() as first:
            models = ModelFactory(run.ledger, pace=PaceConfig(at_once=8), say=said.append)
            model, port = models.open(f"openai/m@{first.url}", "responses"), int(first.url.split(":")[2].split("/")[0])
            replies = [await model.ask(ask_about(None, "before"))]
        asking = [asyncio.ensure_future(model.ask(ask_about(None, str(number)))) for number in range(40)]
        # Longer than seven tries would have taken, were they counted.
        for _ in range(100):
            await asyncio.sleep(0.1)
            if said:
                break
        assert not any(each.done() for each in asking)
        with ChatServer(port=port):
            replies += await asyncio.gather(*asking)
            await models.close()
        return replies

    assert len(asyncio.run(through_a_restart())) == 41
    assert "waiting for it" in said[0] and "going on" in said[1] and len(said) == 2


def test_calls_that_wait_for_a_server_keep_no_money_from_the_others(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "_SECONDS", 0.2)
    asked = 0

    async def leaves(body: Body) -> str | web.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.02)
        return echo(body) if asked <= 8 else fault(503, "no healthy upstream")

    async def ask(away_url: str, url: str) -> tuple[list[Reply], float]:
        budget, prices = Budget(1.0), {"away": (0.0, 1000.0), "there": (0.0, 1000.0)}
        models = ModelFactory(run.ledger, budget, PaceConfig(at_once=8), prices)
        away, there = (
            models.open(f"openai/away@{away_url}", "responses"),
            models.open(f"openai/there@{url}", "responses"),
        )
        try:
            # Of 0.2 USD each, and 0.005 as the server tells: those that wait would set all aside.
            first = [asyncio.create_task(away.ask(ask_about(None, str(n), max_tokens=200))) for n in range(40)]
            await asyncio.sleep(0.5)
            asking = (there.ask(ask_about(None, str(n), max_tokens=200)) for n in range(60))
            async with asyncio.timeout(15):
                return await asyncio.gather(*asking), budget.spent
        finally:
            for each in first:
                each.cancel()
            await models.close()

    with ChatServer(leaves) as away, ChatServer() as there:
        replies, spent = asyncio.run(ask(away.url, there.url))
    assert len(replies) == 60 and 60 * 0.005 < spent <= 1.0


def test_an_address_that_only_fails_costs_no_tries_and_little_time(run: RunFolder) -> None:
    """It lists its models and answers nothing, and so has always the fewest to answer."""
    said: list[str] = []

    async def slow(body: Body) -> str:
        await asyncio.sleep(0.1)
        return echo(body)

    async def fails(_: Body) -> web.Response:
        # Long enough that the other has answered before this one has failed everybody.
        await asyncio.sleep(0.02)
        return fault(500, "the engine is dead")

    async def ask(uri: str) -> list[Reply | BaseException]:
        models = ModelFactory(run.ledger, pace=PaceConfig(at_once=8), say=said.append)
        model = models.open(uri, "responses")
        try:
            asked = (model.ask(ask_about(None, str(number))) for number in range(300))
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await models.close()

    with ChatServer(fails) as dead, ChatServer(slow) as good:
        began = time.monotonic()
        found = asyncio.run(ask(f"openai/m@{dead.url},{good.url}"))
        seconds = time.monotonic() - began
    assert all(isinstance(each, Reply) for each in found)
    # 300 answers of 0.1 s, eight at once.
    assert seconds < 3 * 300 * 0.1 / 8
    assert any(f"{dead.url} answers nothing" in each for each in said), said
    assert dead.seen.total() < 300


def test_a_wrong_address_is_told_at_once(run: RunFolder) -> None:
    async def ask() -> Reply:
        models = ModelFactory(run.ledger)
        try:
            return await models.open("openai/m@http://127.0.0.1:1/v1", "responses").ask(ask_about(None, "?"))
        finally:
            await models.close()

    began = time.monotonic()
    with pytest.raises(ProviderError, match="no server answers"):
        asyncio.run(ask())
    assert time.monotonic() - began < 5


def test_the_time_that_a_call_may_take_is_a_setting(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    came = 0

    async def slow_at_first(body: Body) -> str:
        nonlocal came
        came += 1
        await asyncio.sleep(5 if came == 1 else 0)
        return "at last"

    async def ask(url: str) -> Reply:
        models = ModelFactory(run.ledger, pace=PaceConfig(timeout=0.5))
        try:
            return await models.open(f"openai/m@{url}", "responses").ask(ask_about(None, "?"))
        finally:
            await models.close()

    with ChatServer(slow_at_first) as server:
        began = time.monotonic()
        assert asyncio.run(ask(server.url)).text == "at last"
    assert time.monotonic() - began < 4 and came == 2


def test_a_model_that_is_gone_after_it_answered_is_waited_for_and_not_an_error(run: RunFolder) -> None:
    """So a gateway says while the server behind it is away."""
    answers = iter(["yes", fault(404, "model not found"), fault(404, "model not found"), "again"])

    async def ask(url: str) -> list[str]:
        models = ModelFactory(run.ledger)
        model = models.open(f"openai/m@{url}", "responses")
        try:
            return [(await model.ask(ask_about(None, text))).text for text in ("1", "2")]
        finally:
            await models.close()

    with ChatServer(lambda _: next(answers)) as server:
        assert asyncio.run(ask(server.url)) == ["yes", "again"]


def run_stage(run: RunFolder, work: Callable[[Question], Awaitable[RowResult[Response]]]) -> Manifest:
    """A stage that asks 200 questions."""
    spec = StageSpec("responses", reads=(), writes=Response, does="asks", seconds_before_retry=0.01)
    questions = [filled(Question, text=str(number)) for number in range(200)]
    context = StageContext(run, TaxonomyConfig(), 1, ModelFactory(run.ledger), Screen(quiet=True), 8)
    return asyncio.run(run_rows(context, spec, questions, len(questions), work))


def test_a_stage_that_stops_says_why_its_inputs_failed(run: RunFolder) -> None:
    async def work(question: Question) -> RowResult[Response]:
        raise Transient("the body is no JSON: <html>")

    with pytest.raises(GateError, match=r"failed because .*: the body is no JSON: <html>"):
        run_stage(run, work)


def test_429s_that_last_are_reported_once() -> None:
    class Throttling:
        name = "throttling"

        async def ask(self, request: Request) -> Reply:
            if time.monotonic() < 1120:
                raise Transient("HTTP 429", retry_after=1.0, throttled=True)
            return Reply("yes", "stop")

    said: list[str] = []
    with virtual_time() as loop:
        assert loop.run_until_complete(Retrying(Throttling(), said.append).ask(ask_about(None, "?"))).text == "yes"
    assert said == ["throttling has answered a request with HTTP 429 for 30 s: it is sent again for up to 15 minutes"]


def test_what_failed_is_asked_again_before_a_stage_ends(run: RunFolder) -> None:
    tries: dict[str, int] = {}

    async def work(question: Question) -> RowResult[Response]:
        tries[question.id] = tries.get(question.id, 0) + 1
        if tries[question.id] == 1 and int(question.text) % 10 == 0:
            raise Transient("HTTP 500")
        row = Response(question_id=question.id, model="m", text="yes", finish="stop", decoding=(), call="c")
        return RowResult([row])

    manifest = run_stage(run, work)
    assert manifest.rows == 200 and not manifest.rejects
    assert sorted(tries.values()) == [1] * 180 + [2] * 20
