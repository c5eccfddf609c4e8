"""Batches: answers come home to their own questions, nothing is paid twice, and the spend stop holds."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spavl.config import write_config
from spavl.errors import BudgetError, ConfigError, ProviderError
from spavl.models.backends.openai import OpenAIModel
from spavl.models.batch_api import queue
from spavl.models.factory import ModelFactory
from spavl.models.types import Reply, ask_about
from spavl.models.wrappers.rate_limit import BatchConfig
from spavl.models.wrappers.stack import Budget
from spavl.pipeline.build import run_build
from spavl.pipeline.registry import STAGES, BuildConfig
from spavl.store import RunFolder
from spavl.store.outbox import Outbox
from spavl.store.tables import read_table
from spavl.terminal.progress import Screen
from tests.pipeline.test_cost_estimate import answer, ledgers, small_pipeline
from tests.support.batch_server import BatchServer
from tests.support.servers import Body, body_hash, completion, fault
from tests.support.thinking_servers import STYLES, thinks

_SPAVL = "from spavl.models.batch_api import queue; queue._FIRST_LOOK = queue._LONGEST_LOOK = 0.02\n"
_SPAVL += "from spavl.cli.main import main; import sys; sys.exit(main())"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_FIRST_LOOK", 0.01)
    monkeypatch.setattr(queue, "_LONGEST_LOOK", 0.01)


def batched(folder: Path, url: str, **options: Any) -> BuildConfig:
    config = small_pipeline(folder, url, **options)
    names = (config.questions.writer, *config.responses.models, config.verdicts.guard, config.preferences.judge)
    return config.model_copy(update={"batch": config.batch.model_copy(update={"models": tuple(dict.fromkeys(names))})})


def walk(config: BuildConfig, out: Path, until: str | None = None) -> dict[str, Any]:
    return asyncio.run(run_build(config, out, until, Screen())).as_json()


def ids_of(out: Path) -> dict[str, list[str]]:
    names = [entry for entry in STAGES if (out / "tables" / f"{entry.name}.parquet").exists()]
    return {
        entry.name: [row.id for row in read_table(out / "tables" / f"{entry.name}.parquet", entry.writes)]
        for entry in names
    }


@pytest.mark.slow
def test_batches_give_the_rows_that_single_calls_give_whatever_befalls_them(tmp_path: Path) -> None:
    with BatchServer(answer, expired=0.3, failing=0.1) as server:
        config, out = batched(tmp_path, server.url), tmp_path / "run"
        single = walk(small_pipeline(tmp_path, server.url), tmp_path / "single")
        server.seen.clear()
        summary = walk(config, out)
        assert ids_of(out) == ids_of(tmp_path / "single")
        assert summary["calls_by_stage"].keys() == single["calls_by_stage"].keys()
        # Shuffled, failed and half expired as they were: each line was paid once, and every answer is its question's.
        assert set(server.paid.values()) == {1}
        assert summary["calls"] == single["calls"]
        # Canaries are asked one by one, since nothing else is asked before they are passed.
        with RunFolder(out, look_only=True) as run:
            canaries = run.ledger.totals("canaries")
        assert server.paid.total() == summary["calls"] - canaries["calls"] > 0
        assert summary["calls_made_again"] == 0
        assert any(batch["status"] == "expired" for batch in server.batches.values())
        assert summary["usd"] - canaries["usd"] == pytest.approx((single["usd"] - canaries["usd"]) / 2)
        # The single calls are in the ledger of the other run; here one may go on with the other.
        server.paid.clear()
        walk(small_pipeline(tmp_path, server.url), out)
        assert not server.paid


@pytest.mark.slow
def test_files_are_no_larger_than_they_may_be(tmp_path: Path) -> None:
    with BatchServer(answer) as server:
        config = batched(tmp_path, server.url)
        small = config.batch.model_copy(update={"requests": 7, "megabytes": 0.02})
        walk(config.model_copy(update={"batch": small}), tmp_path / "run", until="responses")
        sizes = [(len(file), file.count(b"\n")) for file in server.uploads]
        assert max(size for size, _ in sizes) <= 20_000
        assert max(lines for _, lines in sizes) <= 7
        for file in server.uploads:
            assert len({json.loads(line)["body"]["model"] for line in file.splitlines()}) == 1


def test_a_stage_whose_questions_build_on_one_another_takes_a_round_of_batches_for_each(tmp_path: Path) -> None:
    """Description, easy, hard, statement and a check of each, all through batches that fail here and there."""

    def checked(body: Body) -> Any:
        if body["model"] == "checker":
            sure = int(body_hash(body), 16) % 3
            return completion(f"about: {'yes' if sure else 'no'}\nharm: {'both' if sure == 1 else 'text'}")
        return answer(body)

    with BatchServer(checked, failing=0.2, expired=0.2) as server:
        plain = small_pipeline(tmp_path, server.url)
        asked = {"checker": f"openai/checker@{server.url}", "neighbours": True}
        questions = plain.questions.model_copy(update=asked)
        plain = plain.model_copy(update={"questions": questions})
        config = plain.model_copy(
            update={"batch": plain.batch.model_copy(update={"models": (questions.writer, questions.checker)})}
        )
        single = walk(plain, tmp_path / "single", until="questions")
        summary = walk(config, tmp_path / "run", until="questions")
        rounds = len(server.batches)
    assert ids_of(tmp_path / "run") == ids_of(tmp_path / "single")
    assert summary["calls"] == single["calls"] == server.paid.total()
    assert set(server.paid.values()) == {1}
    assert rounds >= 2 * 3


@pytest.mark.parametrize(
    "room",
    [
        pytest.param({"queue_lines": 9}, marks=pytest.mark.slow),
        pytest.param({"file_lines": 5}, marks=pytest.mark.slow),
        {"queue_lines": 6, "file_lines": 20},
    ],
)
def test_a_server_with_little_room_is_given_no_more_than_it_takes(tmp_path: Path, room: dict[str, int]) -> None:
    """What is over the limit of its queue waits until batches have come back; a file over its limits is halved."""
    with BatchServer(answer, failing=0.1, **room) as server:
        config = batched(tmp_path, server.url)
        small = config.batch.model_copy(update={"requests": 8})
        summary = walk(config.model_copy(update={"batch": small}), tmp_path / "run", until="questions")
        single = walk(small_pipeline(tmp_path, server.url), tmp_path / "single", until="questions")
    assert ids_of(tmp_path / "run") == ids_of(tmp_path / "single")
    assert summary["calls"] == single["calls"] == server.paid.total()
    assert set(server.paid.values()) == {1}
    assert len(server.batches) < 12 * len(server.uploads), "it was not begged for room without end"


@pytest.mark.parametrize("room", [{"queue_lines": 0}, {"file_lines": 0}])
def test_a_server_that_takes_not_one_request_stops_the_run(tmp_path: Path, room: dict[str, int]) -> None:
    with BatchServer(answer, **room) as server, pytest.raises(ProviderError, match=r"limit|maximum"):
        walk(batched(tmp_path, server.url), tmp_path / "run", until="questions")
    assert not server.paid


def test_a_line_that_is_refused_is_kept_and_asked_once(tmp_path: Path) -> None:
    def picky(body: Body) -> Any:
        # Not all of them: a server that takes nothing at all stops the run.
        refused = body["model"] == "one" and int(body_hash(body), 16) % 2
        return fault(400, "not this one") if refused else answer(body)

    with BatchServer(picky) as server:
        config, out = batched(tmp_path, server.url), tmp_path / "run"
        walk(config, out, until="responses")
        begun = len(server.batches)
        with RunFolder(out, look_only=True) as run:
            rejected = [call for call in run.ledger.calls("responses") if call.status == "rejected"]
        assert {call.detail for call in rejected} == {"HTTP 400: not this one"}
        assert {call.usd for call in rejected} == {0.0}
        walk(config.model_copy(update={"in_flight": 3}), out, until="responses")
        assert len(server.batches) == begun


def test_a_batch_whose_beginning_was_not_heard_of_is_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.models.batch_api.server._FIRST_WAIT", 0.01)
    with BatchServer(answer) as server:
        server.lost_answers = 3
        walk(batched(tmp_path, server.url), tmp_path / "run", until="responses")
        assert set(server.paid.values()) == {1}
        files = [batch["input_file_id"] for batch in server.batches.values()]
        assert len(files) == len(set(files))


def test_a_batch_that_a_crash_left_without_a_name_is_looked_for_once(tmp_path: Path) -> None:
    with BatchServer(answer, looks=4) as server:
        config, out = batched(tmp_path, server.url), tmp_path / "run"

        class Crash(Exception):
            pass

        def crash(*_: object) -> None:
            raise Crash

        with pytest.MonkeyPatch.context() as patched, pytest.raises(Crash):
            patched.setattr(Outbox, "name", crash)
            walk(config, out)
        assert [batch["looks"] for batch in server.batches.values()] == [0]
        walk(config, out, until="questions")
        assert set(server.paid.values()) == {1}


@pytest.mark.slow
def test_a_run_killed_at_any_moment_takes_its_batches_up_again(tmp_path: Path) -> None:
    rng, kills = random.Random(4), 0
    with BatchServer(answer, looks=3, failing=0.1) as server:
        config = batched(tmp_path, server.url)
        small = config.batch.model_copy(update={"requests": 11})
        config = config.model_copy(update={"batch": small, "in_flight": 5})
        file, out = tmp_path / "build.toml", tmp_path / "run"
        file.write_text(write_config(config))
        command = [sys.executable, "-c", _SPAVL, "build", str(file), "--out", str(out)]
        while True:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            begun = len(server.batches)
            while process.poll() is None and len(server.batches) < begun + 1:
                time.sleep(0.002)
            try:
                code = process.wait(rng.uniform(0, 0.5) if kills < 5 else 60)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                kills += 1
                continue
            assert code == 0, process.communicate()[1].decode()
            break
        assert kills >= 3
        assert set(server.paid.values()) == {1}, "a line was paid twice"
        walk(small_pipeline(tmp_path, server.url), tmp_path / "single")
    assert ids_of(out) == ids_of(tmp_path / "single")


def test_the_spend_stop_is_never_passed(tmp_path: Path) -> None:
    with BatchServer(answer) as server:
        prices = {name: [2.0, 8.0] for name in ("writer", "one", "two", "three")}
        config = batched(tmp_path, server.url, prices=prices)
        whole = walk(config, tmp_path / "whole", "responses")["usd"]
        server.paid.clear()
        with pytest.raises(BudgetError):
            walk(config.model_copy(update={"budget_usd": whole * 0.5}), tmp_path / "run", "responses")
        spent = sum(own["usd"] for own in ledgers(tmp_path / "run").values())
        assert whole * 0.25 < spent <= whole * 0.5
        # With more money the rest is asked, and no more.
        assert walk(config, tmp_path / "run", "responses")["usd"] == pytest.approx(whole)
        assert set(server.paid.values()) == {1}


def test_a_model_of_unknown_price_is_not_queued_under_a_spend_stop(tmp_path: Path) -> None:
    """A server on this machine is free, so the price of another one is left out here."""
    with BatchServer(answer) as server, RunFolder(tmp_path / "run") as run:
        batches = queue.BatchQueue(tmp_path, run.ledger, Budget(1.0), BatchConfig())
        model = batches.open(OpenAIModel("writer", server.url), None, "writer", "questions")
        with pytest.raises(ConfigError, match="no price is known"):
            asyncio.run(model.ask(ask_about(None, "anything")))
        assert not server.paid


def test_an_answer_that_cannot_be_read_is_asked_for_again_and_may_be_billed_twice(tmp_path: Path) -> None:
    seen: set[str] = set()

    def garbled_at_first(body: Body) -> Any:
        known, name = len(seen), body_hash(body)
        seen.add(name)
        return web.json_response({"choices": []}) if len(seen) > known and int(name, 16) % 4 == 0 else answer(body)

    with BatchServer(garbled_at_first) as server:
        config = batched(tmp_path, server.url, prices={"writer": [2.0, 8.0]})
        summary = walk(config, tmp_path / "run", until="questions")
        garbled = server.paid.total() - summary["calls"]
        assert garbled > 0 and summary["usd_lost_at_most"] > 0
        with RunFolder(tmp_path / "run", look_only=True) as run:
            assert run.ledger.usd_lost() == summary["usd_lost_at_most"]
        # What is lost counts against the stop of every later start, in a folder with a copy of the ledger too.
        shutil.copytree(tmp_path / "run" / "ledger", tmp_path / "other" / "ledger")
        stop = summary["usd"] + summary["usd_lost_at_most"]
        with pytest.raises(BudgetError, match=f"{stop:.2f} USD"):
            walk(config.model_copy(update={"budget_usd": stop, "seed": 9}), tmp_path / "other", until="questions")


def test_batches_under_way_are_not_forgotten(tmp_path: Path) -> None:
    with BatchServer(answer) as server:
        config, out = batched(tmp_path, server.url), tmp_path / "run"
        with RunFolder(out):
            outbox = Outbox(out / "ledger" / "batches.sqlite")
            outbox.begin(config.questions.writer, "file-0")
            outbox.close()
        with pytest.raises(ConfigError, match="writer"):
            walk(small_pipeline(tmp_path, server.url), out)


def test_a_slip_in_a_name_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    config = small_pipeline(tmp_path, "http://127.0.0.1:9/v1")
    slipped = config.model_copy(update={"batch": config.batch.model_copy(update={"models": ("openai/oen",)})})
    with pytest.raises(ConfigError, match="openai/oen"):
        walk(slipped, tmp_path / "run")


@pytest.mark.parametrize("context", [0, 2000])
def test_a_model_known_to_think_has_room_in_batches_and_its_requests_keep_their_keys(
    tmp_path: Path, context: int
) -> None:
    thinking = thinks(lambda body: "safe", STYLES["reasoning"], tokens=700, context=context)
    requests = [ask_about(None, f"Question {n}?", max_tokens=64) for n in range(5)]

    async def ask_all(run: RunFolder, url: str) -> list[Reply]:
        budget, uri = Budget(None), f"openai/guard-thinking@{url}"
        batches = queue.BatchQueue(tmp_path / "batches", run.ledger, budget, BatchConfig(models=(uri,)))
        factory = ModelFactory(run.ledger, budget, batches=batches, batched=(uri,))
        try:
            for _ in range(3):
                asked = await asyncio.gather(*map(factory.open(uri, "test").ask, requests), return_exceptions=True)
                await factory.collect(lambda _: None)
            return [reply for reply in asked if isinstance(reply, Reply)]
        finally:
            await factory.close()

    with BatchServer(thinking) as server, RunFolder(tmp_path / "run") as run:
        replies = asyncio.run(ask_all(run, server.url))
        assert [reply.text for reply in replies] == ["safe"] * 5
        assert [reply.call for reply in replies] == [each.key("openai/guard-thinking") for each in requests]
