"""A study that is killed, and one that two processes run: every finished cell was trained once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.studies.test_study import Folder

pytestmark = pytest.mark.slow


def begin(folder: Folder, out: str) -> subprocess.Popen[bytes]:
    words = folder.words(out)
    environment = {**os.environ, "SPAVL_CACHE": str(folder.cache), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, "-m", "spavl", *words]
    return subprocess.Popen(script, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def results(folder: Path) -> dict[str, Any]:
    """Without what differs between two runs of the same: seconds, and where the data lie."""
    found: dict[str, Any] = json.loads((folder / "study.json").read_text())
    for cell in found["cells"]:
        del cell["seconds"]
    del found["seconds"], found["data"]
    return found


def attempts(folder: Path) -> dict[str, int]:
    return {file.parent.name: len(file.read_text().splitlines()) for file in folder.glob("cells/*/attempts.jsonl")}


def finished(folder: Path) -> set[str]:
    return {file.parents[1].name for file in folder.glob("cells/*/stages/training.json")}


def test_a_study_killed_again_and_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "cache")
    assert begin(folder, "whole").wait() == 0
    rng, before = random.Random(1), dict[str, int]()
    for _ in range(5):
        process = begin(folder, "killed")
        time.sleep(rng.uniform(3, 12))
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = finished(tmp_path / "killed")
        # What was finished before the last start was not begun again.
        assert all(attempts(tmp_path / "killed")[cell] == number for cell, number in before.items())
        before = {cell: attempts(tmp_path / "killed")[cell] for cell in done}
    assert begin(folder, "killed").wait() == 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")


def test_two_processes_on_one_study_never_train_the_same_cell(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "cache")
    both = [begin(folder, "study") for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(attempts(tmp_path / "study")) == 3
    assert set(attempts(tmp_path / "study").values()) == {1}
    cells = json.loads((tmp_path / "study" / "study.json").read_text())["cells"]
    assert {cell["state"] for cell in cells} == {"done"}
