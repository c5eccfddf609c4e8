"""A whole build against `transformers serve`, a real server of another project; `make interop` installs it."""

import asyncio
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from spavl.drive import drive
from spavl.models.shop import miniature_checkpoint
from spavl.progress import Screen
from spavl.records import Question, Reject, Response
from spavl.settings import DEMO, read_config, read_table
from spavl.store import RunFolder

_SERVER = Path(".interop/serving/bin/transformers").absolute()
_LEAVES = """
name = "three leaves"
version = 1
[[domain]]
name = "one"
[[domain.group]]
name = "a"
leaves = [{ name = "first" }, { name = "second" }, { name = "third" }]
"""

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not _SERVER.exists(), reason="transformers[serving] is not installed: make interop"),
]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = int(probe.getsockname()[1])
    (tmp_path / "hub").mkdir()  # the server lists it, and falls over where there is none
    command = [str(_SERVER), "serve", miniature_checkpoint(), "--host", "127.0.0.1", "--port", str(free)]
    env = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "PYTHONPATH": ""}
    with subprocess.Popen([*command, "--device", "cpu"], env=env, stderr=subprocess.DEVNULL) as server:
        try:
            yield _once_ready(free, server)
        finally:
            server.terminate()


def _once_ready(port: int, server: "subprocess.Popen[bytes]") -> int:
    end = time.monotonic() + 180
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).close()
            return port
        except OSError:
            time.sleep(0.5)
    raise RuntimeError("the server did not start")


def test_a_whole_build_by_a_real_server(port: int, tmp_path: Path) -> None:
    (tmp_path / "taxonomy.toml").write_text(_LEAVES)
    # One server under two names, since a pool has two responders at the least.
    one, two = (f"openai/{miniature_checkpoint()}@http://{host}:{port}/v1" for host in ("127.0.0.1", "localhost"))
    options = {
        "taxonomy.file": str(tmp_path / "taxonomy.toml"),
        "images.per_leaf": "3",
        "images.test_per_leaf": "1",
        "images.held_out_leaves": "[]",
        "descriptions.writer": one,
        "questions.writer": one,
        "responses.models": f'["{one}", "{two}"]',
        "responses.max_tokens": "24",
        "pairs.strategy": "random",
        "pace.at_once": "4",
    }
    config = read_config(read_table(DEMO), options, where="here")
    asyncio.run(drive(config, tmp_path / "run", "dataset", Screen()))
    with RunFolder(tmp_path / "run") as run:
        asked = run.count("questions", Question)
        assert asked > 9
        responses = list(run.read("responses", Response))
        assert {response.finish for response in responses} <= {"stop", "length"}
        assert len(responses) + run.count("responses", Reject) >= 2 * 9
        assert run.ledger.totals()["tokens_out"] > 100
        assert run.ledger.totals()["made_again"] == 0
