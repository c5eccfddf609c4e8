"""Models: what names a call, what is kept and what asked again, how fast, for how much, and faults told in words."""

import asyncio
import base64
import dataclasses
import functools
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from spavl.errors import BudgetError, ConfigError, ProviderError, SpavlError
from spavl.judges.refusal_regex import seems_refused
from spavl.miniature import rules
from spavl.models import factory
from spavl.models.backends import openai
from spavl.models.backends.dry_run import CostCountingFactory
from spavl.models.backends.fixed import SAID
from spavl.models.backends.openai import OpenAIModel
from spavl.models.factory import ModelFactory
from spavl.models.model_settings import NONE, ModelSettings
from spavl.models.prices import Price, price_of
from spavl.models.structured_output import ask_structured
from spavl.models.types import ImageData, Message, Reply, Request, RequestRejected, Transient, ask_about
from spavl.models.wrappers import stack
from spavl.models.wrappers.rate_limit import PaceConfig, RateLimiter, TokenBucket
from spavl.models.wrappers.stack import Budget, LedgerCached, Retrying, WithBudget, WithSystemPrompt, most_of
from spavl.store import Ledger, RunFolder
from tests.support.servers import (
    FAULTS,
    Body,
    ChatServer,
    body_hash,
    completion,
    echo,
    fault,
    hostile,
    server_process,
)

Found = Reply | BaseException


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "Retrying", functools.partial(Retrying, first_wait=0.001, longest_wait=0.01))
    monkeypatch.setattr(stack, "_PATIENCE", 0.0)


def question(n: int | str, **settings: Any) -> Request:
    return Request((Message("user", f"question {n}"),), **settings)


async def ask_each(models: ModelFactory, uri: str, requests: Sequence[Request]) -> list[Found]:
    model = models.open(uri, "responses")
    return await asyncio.gather(*(model.ask(request) for request in requests), return_exceptions=True)


def ask(ledger: Ledger, uri: str, *requests: Request, **means: Any) -> list[Found]:
    """Ask all at once of a new shop, which is closed again."""

    async def opened() -> list[Found]:
        models = ModelFactory(ledger, **means)
        try:
            return await ask_each(models, uri, requests)
        finally:
            await models.close()

    return asyncio.run(opened())


def texts(found: Sequence[Found]) -> list[str]:
    return [reply.text if isinstance(reply, Reply) else repr(reply) for reply in found]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# The name of a call

_IMAGES = st.binary(max_size=4).map(ImageData.of)
_MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant"]),
    text=st.text(max_size=8),
    images=st.lists(_IMAGES, max_size=2).map(tuple),
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "messages": st.lists(_MESSAGES, min_size=1, max_size=3).map(tuple),
    "max_tokens": st.integers(1, 4096),
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "seed": st.integers(0, 2**31),
    "sample": st.integers(0, 99),
    "more": st.sampled_from(["", '{"reasoning_effort":"low"}', '{"reasoning_effort":"high"}']),
}


@given(st.fixed_dictionaries(_FIELDS), st.data())
def test_a_change_of_anything_that_is_asked_changes_the_key(fields: dict[str, Any], data: st.DataObject) -> None:
    assert fields.keys() == {field.name for field in dataclasses.fields(Request)}
    request = Request(**fields)
    name = data.draw(st.sampled_from(sorted(fields)))
    value = data.draw(_FIELDS[name].filter(lambda value: value != fields[name]))
    assert dataclasses.replace(request, **{name: value}).key("m") != request.key("m")
    assert request.key("another model") != request.key("m")
    assert Request(**fields).key("m") == request.key("m")


def test_equal_requests_have_equal_keys_however_their_numbers_and_images_are_held(image: ImageData) -> None:
    same = ImageData(image.digest, bytes(bytearray(image.data)))
    one, other = ask_about(image, "what?", temperature=0, top_p=1), ask_about(same, "what?", temperature=0.0)
    assert one == other
    assert one.key("m") == other.key("m")


# What is kept


def test_many_who_ask_the_same_at_once_are_answered_by_one_request(run: RunFolder) -> None:
    async def slow(body: Body) -> str:
        await asyncio.sleep(0.05)
        return echo(body)

    with ChatServer(slow) as server:
        found = texts(ask(run.ledger, f"openai/m@{server.url}", *[question(1)] * 50))
    assert server.seen.total() == 1
    assert len(set(found)) == 1
    assert run.ledger.totals()["made_again"] == 0


def test_two_doors_to_one_model_share_the_flight(run: RunFolder) -> None:
    async def slow(body: Body) -> str:
        await asyncio.sleep(0.05)
        return echo(body)

    async def through_both(uri: str) -> None:
        models = ModelFactory(run.ledger)
        guard, judge = models.open(uri, "verdicts"), models.open(uri, "preferences")
        await asyncio.gather(guard.ask(question(1)), judge.ask(question(1)))
        await models.close()

    with ChatServer(slow) as server:
        asyncio.run(through_both(f"openai/m@{server.url}"))
    assert server.seen.total() == 1
    assert run.ledger.totals()["made_again"] == 0


def test_a_caller_that_leaves_does_not_end_the_flight_of_the_others(run: RunFolder) -> None:
    async def slow(body: Body) -> str:
        await asyncio.sleep(0.05)
        return echo(body)

    async def one_leaves(uri: str) -> Reply:
        models = ModelFactory(run.ledger)
        model = models.open(uri, "responses")
        first, second = (asyncio.ensure_future(model.ask(question(1))) for _ in range(2))
        await asyncio.sleep(0.02)
        first.cancel()
        reply = await second
        await models.close()
        return reply

    with ChatServer(slow) as server:
        assert asyncio.run(one_leaves(f"openai/m@{server.url}")).finish == "stop"
    assert server.seen.total() == 1


def test_answers_on_their_way_when_a_run_stops_are_kept(run: RunFolder) -> None:
    async def slow(body: Body) -> str:
        await asyncio.sleep(0.1)
        return echo(body)

    async def stopped(uri: str) -> None:
        models = ModelFactory(run.ledger)
        model = models.open(uri, "responses")
        try:
            async with asyncio.timeout(0.05):  # any end will do: an error elsewhere, or Ctrl-C
                await asyncio.gather(*(model.ask(question(n)) for n in range(8)))
        finally:
            await models.close()

    with ChatServer(slow) as server, pytest.raises(TimeoutError):
        asyncio.run(stopped(f"openai/m@{server.url}"))
    assert run.ledger.totals()["calls"] == server.seen.total() == 8


@pytest.mark.parametrize(
    ("answer", "finish", "text"),
    [
        (lambda _: completion("an answer"), "stop", "an answer"),
        (lambda _: completion("cut sh", finish="length"), "length", "cut sh"),
        (lambda _: completion(None, finish="content_filter"), "refused", ""),
        (lambda _: completion(None, message={"content": None, "refusal": "I will not."}), "refused", "I will not."),
    ],
    ids=["ok", "length", "filtered", "refused"],
)
def test_whatever_a_server_answers_for_good_is_paid_once(run: RunFolder, answer: Any, finish: str, text: str) -> None:
    with ChatServer(answer) as server:
        for _ in range(2):  # the second time with a new shop, as after a restart
            (reply,) = ask(run.ledger, f"openai/m@{server.url}", question(1))
            assert isinstance(reply, Reply)
            assert (reply.finish, reply.text) == (finish, text)
            assert run.ledger.get(reply.call) is not None
    # A model none of whose answers came to its end is asked once for one to its end: it may be thinking.
    assert server.seen.total() == (2 if finish == "length" else 1)


def test_a_permanent_no_is_kept_and_not_asked_again(run: RunFolder) -> None:
    with ChatServer(lambda _: fault(400, "this picture is too large")) as server:
        for _ in range(2):
            (found,) = ask(run.ledger, f"openai/m@{server.url}", question(1))
            assert isinstance(found, RequestRejected)
            assert "too large" in str(found)
    assert server.seen.total() == 1


@pytest.mark.parametrize("name", FAULTS)
def test_what_may_pass_is_tried_again_and_never_kept(run: RunFolder, name: str) -> None:
    healed = False

    def answer(body: Body) -> str | web.Response:
        return echo(body) if healed else FAULTS[name]()

    with ChatServer(answer) as server:
        uri = f"openai/m@{server.url}"
        assert [type(found) for found in ask(run.ledger, uri, question(1))] == [Transient]
        assert server.seen.total() == get_tries()
        assert run.ledger.totals()["calls"] == 0
        healed = True
        assert texts(ask(run.ledger, uri, question(1))) == [f"answer to {next(iter(server.seen))}"]
    assert run.ledger.totals() | {"usd": 0} == {"calls": 1, "usd": 0, "tokens_in": 10, "tokens_out": 5, "made_again": 0}


def get_tries() -> int:
    """How often Retrying tries unless told otherwise."""
    return int((Retrying.__init__.__kwdefaults__ or {})["tries"])


@pytest.mark.parametrize(
    "body",
    [
        b'{"choices": [{"message": {"content": "\\ud83d cut"}}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": [1]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": "many"}}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": -7, "completion_tokens": 1e99}}',
        b'{"choices": ' + b"[" * 100_000,
        b'{"choices": [{"message": {"content": "x"}, "finish_reason": ["stop"]}]}',
    ],
    ids=["half an emoji", "usage is a list", "usage is no number", "usage is absurd", "deep", "finish is a list"],
)
def test_a_strange_body_is_an_answer_or_a_passing_fault_and_never_a_crash(run: RunFolder, body: bytes) -> None:
    def strange(_: Body) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    with ChatServer(strange) as server:
        found = ask(run.ledger, f"openai/m@{server.url}", question(1), prices={"m": (1.0, 1.0)}, budget=Budget(1.0))
    assert isinstance(found[0], Reply | Transient)
    assert run.ledger.totals()["usd"] >= 0


@pytest.mark.parametrize(
    "spelled", ["m", "m@http://h/v1", "openai/m", "openai/m@http://h/v1", "llama-guard-4/openai/m@http://h/v1"]
)
def test_a_price_is_found_by_a_models_bare_name_and_by_its_whole_one(spelled: str) -> None:
    assert price_of("m@http://h/v1", {spelled: (1.0, 2.0), "other": (9.0, 9.0)}) == Price(1.0, 2.0)
    assert price_of("m@http://h/v1", {"m": (9.0, 9.0), "openai/m@http://h/v1": (1.0, 2.0)}) == Price(1.0, 2.0)
    assert price_of("m@http://h/v1", {"openai/m@http://elsewhere/v1": (9.0, 9.0)}) is None


def test_on_a_hostile_server_every_question_is_answered_and_paid_exactly_once(run: RunFolder) -> None:
    requests = [question(n) for n in range(200)]
    with ChatServer(hostile(echo, share=0.3, seed=1)) as server:
        uri = f"openai/m@{server.url}"
        found = ask(run.ledger, uri, *requests)
        again = ask(run.ledger, uri, *requests)
    assert all(isinstance(reply, Reply) for reply in found)
    assert texts(found) == texts(again)
    assert len(set(texts(found))) == 200
    assert server.seen.total() > 250
    assert Counter(server.answered.values()) == {1: 200}
    assert run.ledger.totals()["made_again"] == 0


_CLIENT = """
import asyncio, sys
from pathlib import Path
from spavl.models.wrappers.rate_limit import PaceConfig
from spavl.models.factory import ModelFactory
from spavl.models.types import Message, Request
from spavl.store import RunFolder

async def main():
    with RunFolder(Path(sys.argv[1])) as run:
        models = ModelFactory(run.ledger, pace=PaceConfig(at_once=8))
        model = models.open(sys.argv[2], "responses")
        async def one(n):
            reply = await model.ask(Request((Message("user", f"question {n}"),)))
            print(reply.text, flush=True)
        await asyncio.gather(*map(one, range(150)))
        await models.close()

asyncio.run(main())
"""


def test_after_kill_9_no_answer_that_was_seen_is_asked_for_again(tmp_path: Path) -> None:
    rng = random.Random(3)
    with server_process("--delay", "0.01") as url:
        seen_by_client: list[set[str]] = []
        answered: list[Counter[str]] = []
        for kill_after in (rng.randrange(5, 60), rng.randrange(5, 60), None):
            command = [sys.executable, "-c", _CLIENT, str(tmp_path / "run"), f"openai/m@{url}"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
                assert client.stdout is not None
                lines = [client.stdout.readline() for _ in range(kill_after or 0)]
                if kill_after:
                    client.send_signal(signal.SIGKILL)
                lines += client.stdout.readlines()
            seen_by_client.append({line.split()[-1] for line in lines if line.endswith("\n")})
            with urllib.request.urlopen(url.removesuffix("v1") + "seen") as told:
                answered.append(Counter(json.load(told)["answered"]))
    assert len(seen_by_client[-1]) == 150
    for seen, then in zip(seen_by_client, answered, strict=True):
        assert all(answered[-1][name] == then[name] for name in seen)
    with RunFolder(tmp_path / "run") as run:
        assert run.ledger.totals()["calls"] == 150


# Pace


def test_the_wait_that_a_server_asks_for_is_kept(run: RunFolder) -> None:
    came: list[float] = []

    def answer(body: Body) -> str | web.Response:
        came.append(time.monotonic())
        return fault(429, Retry_After="0.3") if len(came) == 1 else echo(body)

    with ChatServer(answer) as server:
        ask(run.ledger, f"openai/m@{server.url}", question(1))
    assert len(came) == 2
    assert came[1] - came[0] >= 0.3


@pytest.mark.parametrize("header", ["inf", "nan", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wait_that_makes_no_sense_is_not_kept(run: RunFolder, header: str) -> None:
    answers = iter([fault(429, Retry_After=header), completion("at last")])
    with ChatServer(lambda _: next(answers)) as server:
        assert texts(ask(run.ledger, f"openai/m@{server.url}", question(1))) == ["at last"]


def test_never_more_at_once_than_the_pace_allows_and_all_get_their_turn() -> None:
    pace, running, most = RateLimiter(PaceConfig(at_once=5)), 0, 0

    async def one(n: int) -> None:
        nonlocal running, most
        place = await pace.enter(tokens=1)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        pace.leave(place)
        if n % 20 == 0:
            pace.slow_down(place, 0.0)

    async def many() -> None:
        await asyncio.gather(*map(one, range(100)))

    asyncio.run(many())
    assert most == 5


@given(
    rate=st.floats(1, 6000),
    arrivals=st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 50)), min_size=1, max_size=40),
)
def test_a_bucket_never_gives_more_than_its_rate_and_a_second_of_it(
    rate: float, arrivals: list[tuple[float, float]]
) -> None:
    clock = 1000.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: clock)
        bucket, starts = TokenBucket(rate), list[tuple[float, float]]()
        for pause, amount in arrivals:
            clock += pause
            starts.append((clock + bucket.wait_for(amount), amount))
    for first, (begin, _) in enumerate(starts):
        for last in range(first, len(starts)):
            taken = sum(amount for _, amount in starts[first:last])
            assert taken <= (starts[last][0] - begin + 1.0) * rate / 60 + 1e-6


def test_requests_a_minute_are_kept_to(run: RunFolder) -> None:
    began = time.monotonic()
    with ChatServer() as server:
        requests = [question(n) for n in range(7)]
        ask(run.ledger, f"openai/m@{server.url}", *requests, pace=PaceConfig(requests_per_minute=600))
    assert server.seen.total() == 7
    assert time.monotonic() - began >= 0.6


# Money

_PRICES = {"m": (10_000.0, 20_000.0)}  # 10 tokens in and 5 out, as the server reports: 0.20 USD


def test_the_spend_stop_is_never_passed_and_a_new_start_goes_on_from_what_was_spent(run: RunFolder) -> None:
    async def slow(body: Body) -> str:
        await asyncio.sleep(0.005)
        return echo(body)

    requests = [question(n, max_tokens=6) for n in range(100)]
    with ChatServer(slow) as server:
        uri = f"openai/m@{server.url}"
        answered = []
        for stop in (3.0, 3.0, 5.0):
            budget = Budget(stop, run.ledger.totals()["usd"])
            found = ask(run.ledger, uri, *requests, prices=_PRICES, budget=budget)
            assert {type(each) for each in found} == {Reply, BudgetError}
            # Not passed, and not left unused for what calls under way might have cost.
            assert stop - 0.6 < budget.spent <= stop
            assert budget.spent == pytest.approx(0.2 * server.answered.total())
            assert budget.spent == pytest.approx(run.ledger.totals()["usd"])
            answered.append(server.answered.total())
        refused = next(each for each in found if isinstance(each, BudgetError))
        assert "5.00 USD" in refused.what and "--budget" in refused.then
    assert answered[0] == answered[1] < answered[2]
    assert Counter(server.answered.values()) == {1: answered[-1]}


def test_what_a_lost_answer_may_cost_is_counted_at_every_later_start(run: RunFolder) -> None:
    """A server that makes answers and loses them on the way may bill them all, however often it is begun again."""

    def losing(body: Body) -> str | web.Response:
        rng = random.Random(f"{len(made)}/{body_hash(body)}")
        made.append(body)
        return rng.choice((lambda: echo(body), FAULTS["reset"], FAULTS["cut short"], FAULTS["500"]))()

    made: list[Body] = []
    requests = [question(n, max_tokens=6) for n in range(60)]
    lost, spent = 0.0, 0.0
    with ChatServer(losing) as server:
        for _ in range(4):
            budget = Budget(6.0, run.ledger.totals()["usd"] + run.ledger.usd_lost())
            assert budget.spent == pytest.approx(spent), "what was spent before is known again"
            ask(run.ledger, f"openai/m@{server.url}", *requests, prices=_PRICES, budget=budget)
            assert budget.spent <= 6.0
            assert run.ledger.usd_lost() >= lost
            lost, spent = run.ledger.usd_lost(), budget.spent
            assert spent == pytest.approx(run.ledger.totals()["usd"] + lost)
    assert lost > 0 < server.answered.total()


def test_a_call_given_up_after_it_was_sent_may_be_billed_and_one_that_was_not_sent_is_not(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "_LAST_ANSWERS", 0.05)
    sent: list[Body] = []
    all_sent = threading.Event()

    async def never(body: Body) -> str:
        sent.append(body)
        if len(sent) == 3:
            all_sent.set()
        await asyncio.sleep(30)
        return ""

    async def stopped(url: str) -> float:
        budget = Budget(100.0)
        models = ModelFactory(run.ledger, budget, PaceConfig(at_once=3), _PRICES)
        model = models.open(f"openai/m@{url}", "responses")
        tasks = [asyncio.create_task(model.ask(question(n, max_tokens=6))) for n in range(10)]
        await asyncio.to_thread(all_sent.wait)
        await models.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        return budget.spent

    with ChatServer(never) as server:
        spent = asyncio.run(stopped(server.url))
    assert len(sent) == 3
    most = most_of(question(1, max_tokens=6), "m", Price(*_PRICES["m"]))
    assert spent == run.ledger.usd_lost() == pytest.approx(3 * most)


class Stub:
    """A model in a few lines."""

    name = "openai/stub"

    def __init__(self, *replies: Reply) -> None:
        self.asked: list[Request] = []
        self._replies = iter(replies)

    async def ask(self, request: Request) -> Reply:
        self.asked.append(request)
        await asyncio.sleep(0)
        return next(self._replies, Reply("again", "stop", tokens_in=10, tokens_out=5))


@given(
    usd=st.floats(0, 2),
    asks=st.lists(st.tuples(st.text(max_size=60), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1)), max_size=20),
)
def test_whatever_is_asked_the_spend_stop_holds(usd: float, asks: list[tuple[str, int, float, float]]) -> None:
    price, budget = Price(1000.0, 5000.0), Budget(usd)

    async def all_at_once() -> None:
        models = []
        for text, most_out, share_in, share_out in asks:
            # A byte is the least that any tokenizer can make a token of.
            used = Reply("", "stop", tokens_in=int(share_in * len(text.encode())), tokens_out=int(share_out * most_out))
            request = Request((Message("user", text),), max_tokens=most_out)
            models.append(WithBudget(Stub(used), budget, price).ask(request))
        await asyncio.gather(*models, return_exceptions=True)

    asyncio.run(all_at_once())
    assert budget.spent <= usd + 1e-9


def test_a_server_that_does_not_say_what_was_used_is_taken_to_have_used_the_most() -> None:
    budget = Budget(1.0)
    model = WithBudget(Stub(Reply("an answer", "stop")), budget, Price(1000.0, 1000.0))
    reply = asyncio.run(model.ask(question(1, max_tokens=100)))
    assert reply.usd == budget.spent >= 0.1


def test_a_stop_without_a_known_price_is_an_error_and_nothing_is_sent() -> None:
    stub = Stub()
    with pytest.raises(ConfigError, match="no price is known") as told:
        asyncio.run(WithBudget(stub, Budget(1.0), None).ask(question(1)))
    assert "[prices]" in told.value.then
    assert stub.asked == []
    assert asyncio.run(WithBudget(stub, Budget(None), None).ask(question(1))).text == "again"


# Servers that are not what they should be


def the_error(run: RunFolder, uri: str) -> SpavlError:
    (found,) = ask(run.ledger, uri, question(1))
    assert isinstance(found, SpavlError), found
    assert found.where and found.then
    assert run.ledger.totals()["calls"] == 0
    return found


def test_a_server_that_is_not_there_is_told_at_once(run: RunFolder) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    began = time.monotonic()
    error = the_error(run, f"openai/m@{url}")
    assert time.monotonic() - began < 2
    assert isinstance(error, ProviderError)
    assert (error.where, "start the server" in error.then) == (url, True)


def test_a_web_page_is_told_from_a_model(run: RunFolder) -> None:
    def page() -> web.Response:
        return web.Response(text="<!doctype html>", content_type="text/html")

    with ChatServer(models=page) as server:
        error = the_error(run, f"openai/m@{server.url}")
    assert isinstance(error, ProviderError)
    assert "/v1" in error.then
    assert server.seen.total() == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_names_the_variable(run: RunFolder, status: int) -> None:
    with ChatServer(lambda _: fault(status, "bad key"), models=lambda: fault(status, "bad key")) as server:
        error = the_error(run, f"openai/m@{server.url}")
    assert isinstance(error, ProviderError)
    assert "SPAVL_API_KEY" in error.then and "bad key" in error.what


def told_within(code: Any) -> web.Response:
    return web.json_response({"error": {"code": code, "message": "this input is not passed on"}})


@pytest.mark.parametrize(
    "keeps_back",
    [
        lambda: fault(403, "forbidden"),
        lambda: told_within(403),
        lambda: told_within("content_policy"),
        lambda: web.json_response({"error": "this input is not passed on", "choices": []}),
    ],
    ids=["403", "403 within 200", "a fault without a number", "a fault that is a text"],
)
def test_what_a_gateway_keeps_from_the_model_is_that_question_alone(
    run: RunFolder, keeps_back: Callable[[], web.Response]
) -> None:
    def answer(body: Body) -> Any:
        return keeps_back() if body["messages"][-1]["content"] == "question 2" else echo(body)

    async def in_turn(uri: str) -> list[Found]:
        models = ModelFactory(run.ledger)
        try:
            return [(await ask_each(models, uri, [question(number)]))[0] for number in (1, 2, 3)]
        finally:
            await models.close()

    with ChatServer(answer) as server:
        first, kept_back, third = asyncio.run(in_turn(f"openai/m@{server.url}"))
        assert isinstance(first, Reply) and isinstance(third, Reply)
        assert isinstance(kept_back, RequestRejected)
        assert server.seen.total() == 3, "it is not asked again"


def test_a_neutral_403_before_the_first_answer_keeps_back_that_question_alone(run: RunFolder) -> None:
    """It comes back at once, and answers take their time."""

    async def answer(body: Body) -> Any:
        if int(body["messages"][-1]["content"].split()[1]) % 3 == 0:
            return fault(403, "Forbidden")
        await asyncio.sleep(0.1)
        return echo(body)

    requests = [question(number) for number in range(12)]
    with ChatServer(answer) as server:
        found = ask(run.ledger, f"openai/m@{server.url}", *requests)
        assert [type(each) for each in found] == [RequestRejected, Reply, Reply] * 4
        # A later start knows from the ledger that the key was good, though nothing is under way.
        assert [type(each) for each in ask(run.ledger, f"openai/m@{server.url}", question(15))] == [RequestRejected]
    with ChatServer(lambda _: fault(403, "Forbidden")) as server:
        found = ask(run.ledger, f"openai/other@{server.url}", *requests)
        assert all(isinstance(each, ProviderError) and "SPAVL_API_KEY" in each.then for each in found)


def test_a_gateway_may_keep_back_the_very_first_question(run: RunFolder) -> None:
    with ChatServer(lambda _: fault(403, "Your input was flagged by moderation: violence")) as server:
        (found,) = ask(run.ledger, f"openai/m@{server.url}", question(1))
    assert isinstance(found, RequestRejected)


def test_an_answer_of_pages_where_a_word_was_asked_for_is_cut_off_and_paid(run: RunFolder) -> None:
    with ChatServer(lambda _: "safe " * 100_000, usage=(10, 100_000)) as server:
        (found,) = ask(run.ledger, f"openai/m@{server.url}", question(1, max_tokens=64))
        assert isinstance(found, Reply) and found.finish == "length" and len(found.text) == 256 * 64
        # Once more with room for thoughts, since it was cut off; both are paid, and each once.
        assert run.ledger.totals()["tokens_out"] == 200_000 and server.seen.total() == 2


def test_a_passing_fault_that_is_told_within_200_is_asked_again(run: RunFolder) -> None:
    left = [502, 429]

    def answer(body: Body) -> Any:
        return told_within(left.pop()) if left else echo(body)

    with ChatServer(answer) as server:
        (found,) = ask(run.ledger, f"openai/m@{server.url}", question(1))
        assert isinstance(found, Reply) and server.seen.total() == 3


def _error(**told: Any) -> web.Response:
    return web.json_response({"error": told})


@pytest.mark.parametrize(
    "passing",
    [
        lambda: _error(message="Rate limit exceeded", type="rate_limit_error", code="rate_limit_exceeded"),
        lambda: _error(message="no", code="503"),
        lambda: _error(message="no", type="server_error", code=None),
        lambda: _error(message="no", type="overloaded_error"),
        lambda: _error(message="no", code="timeout"),
        lambda: _error(message="no", status="RESOURCE_EXHAUSTED", code="quota"),
        lambda: _error(message="upstream request timeout"),
        lambda: web.json_response({"error": "The model is overloaded. Try again later."}),
        lambda: completion("Half an ans", "error", {"prompt_tokens": 9, "completion_tokens": 3}),
        lambda: completion("Half an ans", "abort"),
    ],
)
def test_a_fault_told_by_a_word_within_200_passes_as_it_means(
    run: RunFolder, passing: Callable[[], web.Response]
) -> None:
    tries = Counter[str]()

    def answer(body: Body) -> Any:
        tries[body_hash(body)] += 1
        return passing() if tries[body_hash(body)] == 1 else echo(body)

    with ChatServer(answer) as server:
        found = ask(run.ledger, f"openai/m@{server.url}", *map(question, range(3)))
    assert all(isinstance(each, Reply) and each.text.startswith("answer to") for each in found), found
    assert set(tries.values()) == {2}


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}, RequestRejected),
        ({"message": "try another rate limit", "type": "invalid_request_error"}, RequestRejected),
        ({"message": "Incorrect API key provided", "type": "authentication_error", "code": None}, ProviderError),
    ],
)
def test_a_lasting_fault_told_by_a_word_within_200_is_not_tried_again(
    run: RunFolder, told: dict[str, Any], kind: type
) -> None:
    with ChatServer(lambda _: _error(**told)) as server:
        (found,) = ask(run.ledger, f"openai/m@{server.url}", question(1))
        assert type(found) is kind and server.seen.total() == 1


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (lambda _: fault(401), "SPAVL_API_KEY"),
        (lambda _: fault(403), "SPAVL_API_KEY"),
        (lambda _: fault(404, "no such model"), "/models"),
        (lambda _: fault(402, "no credit is left"), "account"),
        (
            lambda _: web.json_response({"error": {"code": "insufficient_quota", "message": "pay"}}, status=429),
            "account",
        ),
        (lambda _: web.Response(status=307, headers={"Location": "http://127.0.0.1:9/v1"}), "address"),
    ],
    ids=["401", "403", "404", "402", "no quota", "moved"],
)
def test_what_no_retry_can_help_stops_the_run_and_is_not_kept(run: RunFolder, answer: Any, then: str) -> None:
    with ChatServer(answer) as server:
        error = the_error(run, f"openai/m@{server.url}")
    assert isinstance(error, ProviderError)
    assert then in error.then
    assert server.seen.total() == 1


def test_calls_to_other_machines_are_switched_off_before_any_socket(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("a socket was touched")

    models = ModelFactory(run.ledger)
    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, touched)
    with pytest.raises(ConfigError, match="user's name"):
        models.open("openai/m@http://127.0.0.1@example.org/v1", "responses")
    for uri in ("openai/gpt-4o", "openai/m@https://example.org/v1"):
        with pytest.raises(ProviderError, match="switched off") as told:
            models.open(uri, "responses")
        assert "SPAVL_LOOPBACK_ONLY" in told.value.then


@pytest.mark.parametrize(
    ("uri", "then"),
    [
        ("vllm/llava", "vllm serve llava"),
        ("gpt-4o", "openai/NAME"),
        ("openai/", "openai/NAME"),
        ("gemini/pro", "openai/NAME"),
        ("miniature/nobody", "careful"),
        ("openai/m@127.0.0.1:8000/v1", "http://"),
    ],
)
def test_a_name_that_means_nothing_is_told_with_those_that_do(run: RunFolder, uri: str, then: str) -> None:
    with pytest.raises(ConfigError) as told:
        ModelFactory(run.ledger).open(uri, "responses")
    assert then in told.value.then


# What is sent


def test_a_key_goes_only_to_the_host_it_was_made_for(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the host was named by a file that somebody else wrote."""
    monkeypatch.setenv("OPENAI_API_KEY", "for-openai")
    monkeypatch.setenv("SPAVL_API_KEY", "for-nobody-in-particular")
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", "for-ours")
    with ChatServer() as theirs, ChatServer() as ours, ChatServer() as strangers:
        monkeypatch.setattr(openai, "OPENAI", theirs.url)
        ask(run.ledger, "openai/m", question(1))
        ask(run.ledger, f"openai/m@{ours.url}", question(2))
        ask(run.ledger, f"openai/m@{theirs.url}/", question(3))
        ask(run.ledger, f"openai/m@{strangers.url.replace('127.0.0.1', 'localhost')}", question(4))
    assert theirs.authorizations == {"Bearer for-openai"}
    assert ours.authorizations == {"Bearer for-ours"}
    assert strangers.authorizations == {None}


_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,4}[a-z0-9])?", fullmatch=True)
_HOSTS = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)


@given(st.sets(_HOSTS, min_size=2, max_size=20))
def test_no_two_hosts_share_a_variable_for_their_keys(hosts: set[str]) -> None:
    variables = {openai.key_variable(f"https://{host}:8000/v1") for host in hosts}
    assert len(variables) == len(hosts)
    assert openai.key_variable("https://a-b.org/v1") != openai.key_variable("https://a.b.org/v1")
    assert openai.key_variable("https://openai.com/v1") != "OPENAI_API_KEY"


def test_nothing_follows_a_server_that_points_elsewhere(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", "secret")
    with ChatServer() as elsewhere:
        moved = {"Location": f"{elsewhere.url}/chat/completions"}
        with ChatServer(lambda _: web.Response(status=307, headers=moved)) as server:
            ask(run.ledger, f"openai/m@{server.url}", question(1))
    assert elsewhere.seen.total() == 0


def test_images_and_settings_arrive_as_they_were_given(run: RunFolder, image: ImageData) -> None:
    request = ask_about(image, "what is this?", max_tokens=7, temperature=0.5, top_p=0.9, seed=3)
    with ChatServer() as server:
        ask(run.ledger, f"openai/org/model:tag@{server.url}", request)
    (body,) = server.bodies.values()
    shown, text = body["messages"][0]["content"]
    kind, _, data = shown["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == image.data
    assert text == {"type": "text", "text": "what is this?"}
    sent = {name: body[name] for name in ("model", "max_tokens", "temperature", "top_p", "seed")}
    assert sent == {"model": "org/model:tag", "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 3}


def test_a_persona_speaks_first_and_another_prompt_is_another_call(run: RunFolder) -> None:
    stub = Stub()
    for prompt in ("be kind", "be kind", "be terse"):
        asyncio.run(WithSystemPrompt(LedgerCached(stub, run.ledger, "responses"), "p", prompt).ask(question(1)))
    assert [request.messages[0] for request in stub.asked] == [
        Message("system", "be kind"),
        Message("system", "be terse"),
    ]


# Answers with a form


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


@pytest.mark.parametrize(
    ("replies", "parsed", "asked"),
    [
        ([Reply("4", "stop")], 4, 1),
        ([Reply("four", "stop"), Reply("4", "stop")], 4, 2),
        ([Reply("four", "stop"), Reply("vier", "stop"), Reply("4", "stop")], None, 2),
        ([Reply("", "refused"), Reply("4", "stop")], None, 1),
    ],
    ids=["at once", "repaired", "given up", "refused"],
)
def test_an_answer_with_a_form_gets_one_repair_and_then_an_honest_none(
    replies: list[Reply], parsed: int | None, asked: int
) -> None:
    stub = Stub(*replies)
    found, reply = asyncio.run(ask_structured(stub, question(1), _number, "a number"))
    assert (found, len(stub.asked)) == (parsed, asked)
    assert reply == replies[asked - 1]
    if asked == 2:
        assert [message.role for message in stub.asked[1].messages] == ["user", "assistant", "user"]
        assert "a number" in stub.asked[1].messages[-1].text


# --- models that say the same to everything


@pytest.mark.parametrize("name", ["refuse", "comply"])
def test_a_fixed_model_says_the_same_to_everything_and_costs_nothing(run: RunFolder, name: str) -> None:
    model = ModelFactory(run.ledger).open(f"fixed/{name}", "answers")
    said = {asyncio.run(model.ask(Request((Message("user", text),)))) for text in ("how ?", "what is this ?")}
    (reply,) = said
    assert (reply.usd, reply.finish) == (0, "stop")
    assert seems_refused(reply.text) == (name == "refuse")


@pytest.mark.parametrize("live", [True, False])
def test_the_miniatures_rules_understand_both(live: bool) -> None:
    refuses, complies = (rules.read(SAID[name], "dax", live) for name in ("refuse", "comply"))
    assert (refuses.label, refuses.refused) == ("safe", True)
    assert (complies.label, complies.refused) == ("unsafe" if live else "safe", False)


def test_no_other_model_is_fixed(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="no fixed model is called 'perhaps'"):
        ModelFactory(run.ledger).open("fixed/perhaps", "answers")


def test_half_a_character_is_refused_and_never_sent() -> None:
    """JSON can spell it, and UTF-8 cannot hold it."""
    model = OpenAIModel("m", "http://127.0.0.1:9/v1")
    assert (
        json.loads(model.body(ask_about(None, "caf\u00e9 \U0001f600")))["messages"][0]["content"]
        == "caf\u00e9 \U0001f600"
    )
    with pytest.raises(RequestRejected, match="no JSON"):
        model.body(ask_about(None, "half \ud800"))


def test_a_model_is_opened_once_for_all_rows_of_one_weight(run: RunFolder) -> None:
    """A price was told after minutes: each of 20,000 rows of a stage opened its models anew."""
    uri, own = "openai/a@http://127.0.0.1:9/v1", ModelSettings(max_tokens=9)
    factory = CostCountingFactory(run.ledger, {}, "likely")
    opened = factory.with_weight(2, 10).open(uri, "responses")
    assert factory.with_weight(2, 10).open(uri, "responses") is opened
    others = [(2, "verdicts", NONE), (2, "responses", own), (3, "responses", NONE)]
    assert all(factory.with_weight(times, 10).open(uri, *how) is not opened for times, *how in others)


def test_models_that_stand_for_more_calls_are_counted_so_whichever_is_asked_first(run: RunFolder) -> None:
    """The weight is the model's own: it was the factory's, and the one that was opened last set it for all."""
    factory = CostCountingFactory(run.ledger, {}, "likely")
    one = factory.with_weight(2, 10).open("openai/a@http://127.0.0.1:9/v1", "responses")
    other = factory.with_weight(30, 100).open("openai/b@http://127.0.0.1:9/v1", "responses")

    async def ask() -> None:
        await one.ask(ask_about(None, "x", max_tokens=1000))
        await other.ask(ask_about(None, "x", max_tokens=1000))

    asyncio.run(ask())
    assert sorted(tally.calls for tally in factory.tallies.values()) == [2, 30]
