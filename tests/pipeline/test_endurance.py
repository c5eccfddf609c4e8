"""Builds that last: killed twenty times, asked a million questions. Minutes long, so not among the usual tests."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from spavl.miniature.personas import PERSONAS
from spavl.pipeline.registry import STAGES
from spavl.store.tables import read_table
from tests.pipeline.test_kill import calls_in, made_again, start
from tests.support.miniature_server import speaker
from tests.support.servers import ChatServer

SEED, IMAGES, IN_FLIGHT, KILLS = 5, 95, 16, 20
# Some of the miniature's images are too alike to be kept, so a few more are drawn than are wanted. Its toys may be
# as alike, which is no leak.
DRAWN = IMAGES + 45

_TAXONOMY = """
name = "four leaves"
version = 1
[[domain]]
name = "one"
[[domain.group]]
name = "a"
leaves = [{ name = "first" }, { name = "second" }, { name = "third" }, { name = "fourth" }]
"""
_SETTINGS = """
seed = {seed}
in_flight = {in_flight}
[taxonomy]
file = "{taxonomy}"
[sourcing]
per_leaf = {drawn}
[selection]
per_leaf = {images}
test_share = 0.25
[questions]
writer = "openai/ward@{url}"
[responses]
models = [{models}]
[pairs]
per_question = 2
[dataset.leaks]
near_image_bits = 0
question_similarity = 1.0
"""


def tables_of(out: Path) -> dict[str, list[str]]:
    """The rows of every table, in order. These pipelines end with the data set."""
    found = {}
    for entry in STAGES[: [entry.name for entry in STAGES].index("dataset") + 1]:
        found[entry.name] = [row.id for row in read_table(out / "tables" / f"{entry.name}.parquet", entry.writes)]
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


@pytest.mark.slow
def test_a_build_of_20_000_calls_killed_at_20_random_moments_ends_as_one_that_was_not(tmp_path: Path) -> None:
    (tmp_path / "taxonomy.toml").write_text(_TAXONOMY)
    rng, file = random.Random(2), tmp_path / "build.toml"
    broken, unbroken = tmp_path / "broken", tmp_path / "unbroken"
    with ChatServer(speaker(SEED, leaves=4, images=DRAWN)) as server:
        names = ", ".join(f'"openai/{name}@{server.url}"' for name in PERSONAS)
        named = {"taxonomy": tmp_path / "taxonomy.toml", "url": server.url, "models": names}
        file.write_text(_SETTINGS.format(seed=SEED, in_flight=IN_FLIGHT, images=IMAGES, drawn=DRAWN, **named))
        began = time.monotonic()
        assert start(file, unbroken).wait(1800) == 0
        took = time.monotonic() - began
        distinct, asked_once = len(server.seen), sum(server.seen.values())
        assert distinct == asked_once >= 20_000, "an unbroken run asks nothing twice"

        server.seen.clear()
        server.answered.clear()
        finished: set[str] = set()
        moments = []
        for moment in sorted(rng.sample(range(distinct), KILLS)):
            process = start(file, broken)
            while process.poll() is None and sum(server.seen.copy().values()) < moment:
                time.sleep(0.01)
            assert process.poll() is None, "the pipeline ended before it could be killed; kill sooner"
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kept = calls_in(broken) if (broken / "ledger" / "calls.sqlite").exists() else set()
            assert finished <= kept, "a finished call was lost"
            finished = kept
            moments.append(len(kept))
        assert start(file, broken).wait(1800) == 0
        assert made_again(broken) == 0, "a finished call was made again"
        assert finished <= calls_in(broken)
        assert len(server.seen) == len(calls_in(broken)) == distinct
        again = sum(server.seen.values()) - distinct
        told = f"calls {distinct}, unbroken in {took:.0f} s, kept at the kills {moments}, asked twice {again}"
        sys.stdout.write(told + "\n")
        assert again <= KILLS * IN_FLIGHT * len(PERSONAS), "more was asked again than was in flight"
    assert tables_of(broken) == tables_of(unbroken)
    assert files_of(broken / "dataset") == files_of(unbroken / "dataset")
