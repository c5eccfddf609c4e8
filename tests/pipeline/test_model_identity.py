"""A model is known by its name and revision, and not by where it is served."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from spavl.data.responses.config import SPEC, ResponsesConfig
from spavl.data.responses.run import responders_of
from spavl.errors import ConfigError
from spavl.evaluation.config import AnswersConfig, JudgementsConfig
from spavl.evaluation.model_names import models_by_name
from spavl.models.backends import openai
from spavl.models.backends.dry_run import CostCountingFactory, ValidatingFactory
from spavl.models.factory import ModelFactory
from spavl.models.names import former_names, parse_served_name, without_addresses
from spavl.models.prices import price_of
from spavl.models.types import Reply, ask_about, key_of
from spavl.models.wrappers.stack import Budget
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.report.summary import models_of
from spavl.publishing.build_notes import BuildNotes
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of
from spavl.store import Call, RunFolder
from spavl.terminal.progress import Screen
from tests.support.servers import Body, ChatServer, echo


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    with RunFolder(tmp_path / "run") as folder:
        yield folder


def ask(run: RunFolder, uri: str, texts: Sequence[str], **means: Any) -> list[Reply]:
    async def all_of_them() -> list[Reply]:
        models = ModelFactory(run.ledger, **means)
        model = models.open(uri, "responses")
        try:
            return list(await asyncio.gather(*(model.ask(ask_about(None, text)) for text in texts)))
        finally:
            await models.close()

    return asyncio.run(all_of_them())


_TEXTS = [f"question {number}" for number in range(20)]


def test_the_same_model_on_another_port_is_not_paid_again(run: RunFolder) -> None:
    with ChatServer() as first, ChatServer() as second:
        before = ask(run, f"openai/org/m@{first.url}", _TEXTS)
        after = ask(run, f"openai/org/m@{second.url}", _TEXTS)
        assert first.seen.total() == 20 and not second.seen
    assert [reply.text for reply in before] == [reply.text for reply in after]
    assert run.ledger.models() == ["openai/org/m"]


def test_revisions_of_one_name_are_told_apart_and_the_server_is_asked_for_the_name(run: RunFolder) -> None:
    with ChatServer() as first, ChatServer() as second:
        ask(run, f"openai/m#one@{first.url}", _TEXTS)
        ask(run, f"openai/m#two@{second.url}", _TEXTS)
        assert first.seen.total() == second.seen.total() == 20
        assert {body["model"] for body in (*first.bodies.values(), *second.bodies.values())} == {"m"}
    assert run.ledger.models() == ["openai/m#one", "openai/m#two"]


def _old_call(name: str, text: str, said: str) -> Call:
    spelled = ask_about(None, text).canonical_text()
    return Call(
        key=key_of(name, spelled),
        model=name,
        request=spelled,
        status="ok",
        text=said,
        detail="",
        tokens_in=1,
        tokens_out=1,
        usd=1.0,
        seconds=0.0,
        at=time.time(),
        stage="responses",
    )


def _put(run: RunFolder, *calls: Call) -> None:
    async def write() -> None:
        for call in calls:
            await run.ledger.put(call)

    asyncio.run(write())


def test_calls_from_when_the_address_was_part_of_the_name_are_not_paid_again(run: RunFolder) -> None:
    _put(run, *(_old_call("openai/m@http://127.0.0.1:9/v1", text, "of old") for text in _TEXTS))
    with ChatServer() as server:
        replies = ask(run, f"openai/m@{server.url}", [*_TEXTS, "a new one"])
        assert server.seen.total() == 1
    assert [reply.text for reply in replies[:-1]] == ["of old"] * 20
    assert all(run.ledger.get(reply.call) is not None for reply in replies)


def test_of_several_old_addresses_only_the_models_own_is_believed() -> None:
    known = ["openai/m@http://a/v1", "openai/m@http://b/v1", "openai/mm@http://a/v1", "openai/n"]
    assert former_names("m@http://a/v1", known) == ("openai/m@http://a/v1",)
    assert former_names("m@http://c/v1", known) == ()
    assert former_names("mm@http://c/v1", known) == ("openai/mm@http://a/v1",)
    assert former_names("m#2@http://a/v1", known) == () == former_names("m", known)


def test_one_name_at_two_addresses_has_to_be_explained(run: RunFolder) -> None:
    models = ModelFactory(run.ledger)
    models.open("openai/m@http://127.0.0.1:1/v1", "responses")
    models.open("openai/m@http://127.0.0.1:1/v1/", "verdicts")
    with pytest.raises(ConfigError, match="two addresses") as told:
        models.open("openai/m@http://127.0.0.1:2/v1", "verdicts")
    assert "openai/m@http://127.0.0.1:1/v1,http://127.0.0.1:2/v1" in told.value.then
    models.open("openai/m#B@http://127.0.0.1:2/v1", "verdicts")


def test_several_addresses_of_a_model_share_its_work(run: RunFolder) -> None:
    async def slow(body: Body) -> str:
        await asyncio.sleep(0.05)
        return echo(body)

    texts = [f"question {number}" for number in range(60)]
    with ChatServer(slow) as first, ChatServer(slow) as second:
        replies = ask(run, f"openai/m@{first.url},{second.url}", texts)
        assert {reply.finish for reply in replies} == {"stop"}
        assert first.seen.total() + second.seen.total() == 60
        assert min(first.seen.total(), second.seen.total()) >= 20
    assert run.ledger.models() == ["openai/m"]


def test_an_address_where_nobody_is_leaves_the_work_to_the_others(run: RunFolder) -> None:
    said: list[str] = []
    with ChatServer() as server:
        replies = ask(run, f"openai/m@http://127.0.0.1:1/v1,{server.url}", _TEXTS, say=said.append)
        assert len(replies) == server.seen.total() == 20
    assert len(said) == 1 and "goes on without http://127.0.0.1:1/v1" in said[0]


def test_what_a_stages_rows_hang_on_is_not_an_address(run: RunFolder) -> None:
    def fingerprint(port: int) -> str:
        settings = ResponsesConfig(models=(f"openai/m@http://127.0.0.1:{port}/v1", "openai/gpt-4o"))
        return fingerprint_of(StageContext(run, settings, 1, ModelFactory(run.ledger), Screen(quiet=True), 1), SPEC)

    assert fingerprint(8000) == fingerprint(9000)


def test_what_is_published_names_models_and_no_addresses() -> None:
    url = "http://127.0.0.1:8000/v1"
    named = ResponsesConfig(models=(f"openai/org/m@{url},{url}", "hf/folder"))
    assert [responder.name for responder in responders_of(named)] == ["openai/org/m", "hf/folder"]
    assert list(models_by_name([f"openai/m@{url}", f"mine=openai/n@{url}"])) == ["openai/m", "mine"]
    table: dict[str, Any] = {
        "questions": {"writer": f"openai/w@{url}"},
        "responses": {"models": [f"openai/m@{url}", "hf/folder"]},
        "verdicts": {"guard": f"llama-guard-4/openai/g@{url}"},
        "preferences": {"judge": f"openai/j#r2@{url}"},
    }
    models = models_of(BuildConfig.model_validate(table), BuildNotes.of(()), ())
    assert "127.0.0.1" not in str(models)
    assert models.guard == "llama-guard-4/openai/g" and models.responders == ("openai/m", "hf/folder")
    assert without_addresses("openai/m@") == "openai/m@"
    assert without_addresses("see http://127.0.0.1/x") == "see http://127.0.0.1/x"


@pytest.mark.parametrize("uri", ["openai/gpt-4.1@", "openai/gpt-4.1@ ", "openai/gpt-4.1@,"])
def test_a_name_without_its_address_is_asked_nowhere_and_a_stop_holds(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "made-up-key")
    with ChatServer() as openai_itself:
        monkeypatch.setattr(openai, "OPENAI", openai_itself.url)
        with pytest.raises(ConfigError, match="no address") as told:
            ask(run, uri, _TEXTS, budget=Budget(0.01))
        assert not openai_itself.seen
    assert "openai/gpt-4.1@http://HOST:PORT/v1" in told.value.then
    # A dry run prices pools before anything is started.
    CostCountingFactory(run.ledger, {}, "likely").open(uri, "responses")
    with pytest.raises(ConfigError, match="no address"):
        ValidatingFactory(run.ledger).open(uri, "responses")


def test_names_with_several_addresses_are_read_as_they_are_typed() -> None:
    both = "openai/m@http://a/v1,http://b/v1"
    assert parse_served_name(both.removeprefix("openai/")) == ("m", "m", ("http://a/v1", "http://b/v1"))
    assert JudgementsConfig.model_validate({"guard": f"{both},openai/n@http://c/v1"}).guard == (
        both,
        "openai/n@http://c/v1",
    )
    assert AnswersConfig.model_validate({"models": [both]}).models == (both,)
    assert price_of("gpt-4o#2024@https://gateway.example.org/v1", {}) == price_of("gpt-4o", {}) is not None
