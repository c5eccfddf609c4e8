"""A replay makes the same bytes from the ledger, reaches nobody, and names the call that is missing."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from spavl.errors import StoreError
from spavl.pipeline.build import replay, run_build
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.report.run_summary import RunSummary
from spavl.terminal.progress import Screen
from tests.pipeline.test_cost_estimate import answer, small_pipeline
from tests.support.servers import ChatServer


def bytes_of(out: Path) -> dict[str, bytes]:
    found = [path for folder in ("tables", "dataset") for path in sorted((out / folder).rglob("*")) if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in found}


def walked(folder: Path) -> tuple[BuildConfig, Path]:
    """A finished run whose server is gone."""
    out = folder / "run"
    with ChatServer(answer) as server:
        config = small_pipeline(folder, server.url)
        asyncio.run(run_build(config, out, None, Screen()))
    return config, out


def again(config: BuildConfig, out: Path) -> RunSummary:
    return asyncio.run(replay(config, out, None, Screen()))


def test_a_replay_gives_the_same_bytes_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = walked(tmp_path)
    first = bytes_of(out)
    kept = ("sourcing", "downloads", "taxonomy", "selection")
    for path in (out / "tables").glob("*.parquet"):
        if path.name.partition(".")[0] not in kept:
            path.unlink()
    again(config, out)
    assert bytes_of(out) == first
    assert "not as before" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_missing_call_is_named(tmp_path: Path) -> None:
    config, out = walked(tmp_path)
    with sqlite3.connect(out / "ledger" / "calls.sqlite") as ledger:
        (key,) = ledger.execute("SELECT key FROM calls WHERE stage = 'verdicts' LIMIT 1").fetchone()
        ledger.execute("DELETE FROM calls WHERE key = ?", (key,))
    with pytest.raises(StoreError, match=key):
        again(config, out)


def test_what_is_no_run_cannot_be_replayed(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no run to replay"):
        again(small_pipeline(tmp_path, "http://127.0.0.1:9/v1"), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
