"""Self-generated pairs from end to end: several samples of one responder, estimated, killed, replayed."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from spavl.config import write_config
from spavl.errors import ConfigError
from spavl.pipeline.registry import BuildConfig
from spavl.records import Pair, Response, Sample
from spavl.store.tables import read_table
from tests.pipeline.test_cost_estimate import SEED, answer, calls, estimated, made, small_pipeline, walk
from tests.pipeline.test_kill import begun, calls_in, finish, made_again, start
from tests.pipeline.test_replay import again, bytes_of
from tests.support.evaluations import but_canaries
from tests.support.servers import Body, ChatServer, body_hash

SAMPLES = 3


def self_generated(folder: Path, url: str) -> BuildConfig:
    return small_pipeline(folder, url, responses={"models": [f"openai/one@{url}"], "samples": SAMPLES})


def rows_of(out: Path) -> tuple[list[Response], list[Pair], list[Sample]]:
    tables = out / "tables"
    return (
        list(read_table(tables / "responses.parquet", Response)),
        list(read_table(tables / "pairs.parquet", Pair)),
        list(read_table(tables / "dataset.parquet", Sample)),
    )


def test_a_self_generated_build_is_estimated_exactly_and_replayed(tmp_path: Path) -> None:
    with ChatServer(answer) as server:
        config, out = self_generated(tmp_path, server.url), tmp_path / "run"
        estimate = calls(estimated(config, out))
        summary = walk(config, out)
        assert estimate == made(summary)
        assert max(but_canaries(server).values()) == 1
    responses, pairs, samples = rows_of(out)
    assert set(Counter((row.question_id, row.model) for row in responses).values()) == {SAMPLES}
    texts = {row.id: row.text for row in responses}
    assert len(texts) == len(responses) == estimate["responses"]
    assert pairs and not any(texts[pair.first] == texts[pair.second] for pair in pairs)
    assert samples and {(row.chosen_model, row.rejected_model) for row in samples} == {("openai/one", "openai/one")}
    assert "`openai/one`, each asked 3 times for each question" in (out / "dataset" / "README.md").read_text()
    assert "Responders (1, 3 answers to a question by each)" in (out / "report.html").read_text()
    first = bytes_of(out)
    for name in ("responses", "verdicts", "pairs", "preferences", "dataset"):
        (out / "tables" / f"{name}.parquet").unlink()
    again(config, out)
    assert bytes_of(out) == first


@pytest.mark.slow
def test_equal_answers_are_no_pair_and_a_dry_run_knows_it_once_they_are_there(tmp_path: Path) -> None:
    def terse(body: Body) -> object:
        # A third of the questions has equal answers only; others have two that are equal by chance.
        if body["model"] != "one":
            return answer(body)
        question = body["messages"][-1]["content"][-1]["text"]
        is_same = body["seed"] == SEED or sum(map(ord, question)) % 3 == 0
        return "the same words as before" if is_same else f"other words, as {body_hash(body)[0]}"

    with ChatServer(terse) as server:  # type: ignore[arg-type]
        config, out = self_generated(tmp_path, server.url), tmp_path / "run"
        walk(config, out, until="verdicts")
        left = calls(estimated(config, out))
        summary = walk(config, out)
    assert left["preferences"] == made(summary)["preferences"] > 0
    assert summary["stages"]["pairs"]["rejects"]["no_such_two"] > 0
    responses, pairs, _ = rows_of(out)
    texts = {row.id: row.text for row in responses}
    assert len(set(texts.values())) < len(texts)
    assert not any(texts[pair.first] == texts[pair.second] for pair in pairs)


def test_a_strategy_that_pairs_nothing_of_one_responder_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with ChatServer(answer) as server:
        config = self_generated(tmp_path, server.url)
        config = config.model_copy(update={"pairs": config.pairs.model_copy(update={"strategy": ("two_tiers",)})})
        for refused in (walk, estimated):
            with pytest.raises(ConfigError, match="there is one responder"):
                refused(config, tmp_path / "run")
        assert not server.seen


@pytest.mark.slow
def test_a_build_killed_among_its_samples_loses_no_row_and_asks_nothing_again(tmp_path: Path) -> None:
    def slowly(body: Body) -> object:
        time.sleep(0.003)
        return answer(body)

    with ChatServer(slowly) as server:  # type: ignore[arg-type]
        file = tmp_path / "build.toml"
        file.write_text(write_config(self_generated(tmp_path, server.url).model_copy(update={"in_flight": 4})))
        broken, unbroken = tmp_path / "broken" / "run", tmp_path / "unbroken" / "run"
        kills = 0
        for _ in range(3):
            process = start(file, broken)
            before = len(calls_in(broken)) if kills else 0
            while process.poll() is None and not (begun(broken, "responses") and len(calls_in(broken)) > before + 4):
                time.sleep(0.002)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
        finished = calls_in(broken)
        assert kills == 3 and not (broken / "stages" / "responses.json").exists()
        finish(file, broken)
        assert finished <= calls_in(broken)
        assert made_again(broken) == 0
        server.seen.clear()
        finish(file, unbroken)
        assert max(but_canaries(server).values()) == 1
    assert bytes_of(broken) == bytes_of(unbroken)
