"""`kill -9` in every stage of the pipeline: nothing finished is done again, nothing is lost or doubled."""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from spavl.miniature.personas import PERSONAS
from spavl.pipeline.registry import STAGES, StageEntry
from spavl.records import Response
from spavl.store.tables import read_table
from tests.support.forked import SPAVL, Forked
from tests.support.miniature_server import speaker
from tests.support.servers import Answer, Body, ChatServer, body_hash

SEED, IMAGES, IN_FLIGHT = 5, 4, 8

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
[selection]
per_leaf = {images}
test_share = 0.25
held_out_leaves = ["fourth"]
[questions]
writer = "openai/ward@{url}"
[responses]
models = [{models}]
[pairs]
per_question = 2
[dataset.leaks]
question_similarity = 1.0
[training]
batch_size = 4
[training.loop]
learning_rate = 1e-4
save_every = 2
[evaluation]
max_tokens = 24
{more}
"""
# Both filters for persons, which look at every image and text.
_PRIVACY = """
[downloads]
faces = "count"
[privacy]
texts = "redact"
"""
_MAIL = "jane.doe@univ-lyon.fr"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "taxonomy.toml").write_text(_TAXONOMY)
    return folder


def write_settings(folder: Path, url: str, more: str = "") -> Path:
    names = ", ".join(f'"openai/{name}@{url}"' for name in PERSONAS)
    text = _SETTINGS.format(
        seed=SEED,
        in_flight=IN_FLIGHT,
        taxonomy=folder / "taxonomy.toml",
        images=IMAGES,
        url=url,
        models=names,
        more=more,
    )
    file = folder / "build.toml"
    file.write_text(text)
    return file


def start(file: Path, out: Path) -> Forked:
    return Forked(SPAVL, "build", str(file), "--out", str(out))


def finish(file: Path, out: Path) -> None:
    assert start(file, out).wait(300) == 0


def begun(out: Path, stage: str) -> bool:
    """Whether a stage is under way: the ones before it are finished and it has left its first trace."""
    left = [path.name for path in (out / "stages").glob(f"{stage}[.-]*")]
    return any("journal" in name or name.endswith(".states") for name in left) or f"{stage}.json" in left


def calls_in(out: Path) -> set[str]:
    with sqlite3.connect(f"file:{out / 'ledger' / 'calls.sqlite'}?mode=ro", uri=True) as ledger:
        return {key for (key,) in ledger.execute("SELECT key FROM calls")}


def made_again(out: Path) -> int:
    with sqlite3.connect(f"file:{out / 'ledger' / 'calls.sqlite'}?mode=ro", uri=True) as ledger:
        return int(ledger.execute("SELECT SUM(times - 1) FROM calls").fetchone()[0])


def ids_of(out: Path) -> dict[str, list[str]]:
    """The rows of every table, in order."""
    tables = {}
    for entry in STAGES:
        tables[entry.name] = [row.id for row in read_table(out / "tables" / f"{entry.name}.parquet", entry.writes)]
    return tables


# Where much is asked at once, where rows build on one another, and where a model is trained.
_SOME = ("questions", "responses", "preferences", "training", "judgements")


def disclosing(answer: Answer) -> Answer:
    """Every fourth answer of a responder ends with an e-mail address."""

    def told(body: Body) -> str:
        said = answer(body)
        assert isinstance(said, str)
        is_told = body["model"] != "ward" and int(body_hash(body), 16) % 4 == 0
        return f"{said} {_MAIL}" if is_told else said

    return told


@pytest.mark.parametrize(
    ("stages", "more"),
    [
        pytest.param([entry for entry in STAGES if entry.name in _SOME], "", id="some stages"),
        pytest.param(STAGES[1:], "", id="every stage", marks=pytest.mark.slow),
        pytest.param(STAGES[1:], _PRIVACY, id="every stage, with filters for persons", marks=pytest.mark.slow),
    ],
)
def test_a_pipeline_killed_in_its_stages_ends_as_one_that_was_not(
    home: Path, stages: Sequence[StageEntry], more: str
) -> None:
    rng, speaks = random.Random(1), speaker(SEED, leaves=4, images=IMAGES)
    with ChatServer(disclosing(speaks) if more else speaks) as server:
        file, name = write_settings(home, server.url, more), f"{len(stages)}{' filtered' if more else ''}"
        broken, unbroken = home / f"broken in {name}", home / f"unbroken beside {name}"
        kills = 0
        for entry in stages:
            process = start(file, broken)
            while process.poll() is None and not begun(broken, entry.name):
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.15))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
            before = calls_in(broken)
        finish(file, broken)
        assert kills >= 4, "the pipeline ended before it could be killed; slow it down"
        assert before <= calls_in(broken), "a finished call was lost"
        assert made_again(broken) == 0, "a finished call was made again"
        sent, distinct = sum(server.seen.values()), len(server.seen)
        assert sent - distinct <= kills * IN_FLIGHT * len(PERSONAS), "more was asked again than was in flight"

        server.seen.clear()
        finish(file, unbroken)
        assert sum(server.seen.values()) == len(server.seen), "an unbroken run asks nothing twice"
        assert len(server.seen) == distinct
    assert ids_of(broken) == ids_of(unbroken)
    for split in ("train", "validation"):
        name = f"dataset/rich/{split}-00000-of-00001.parquet"
        assert (broken / name).read_bytes() == (unbroken / name).read_bytes()
    if more:
        answers = list(read_table(broken / "tables" / "responses.parquet", Response))
        assert any("[email removed]" in answer.text for answer in answers)
        assert not any(_MAIL in answer.text for answer in answers)
