"""A study that is killed, and one that several processes run: every finished cell was trained once."""

import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.studies.test_study import Folder

pytestmark = pytest.mark.slow


def begin(folder: Folder, out: str, *more: str) -> subprocess.Popen[bytes]:
    words = folder.words(out, *(more or ("--at-once", "1")))
    environment = {**os.environ, "SPAVL_CACHE": str(folder.cache), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, "-m", "spavl", *words]
    return subprocess.Popen(script, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def results(folder: Path) -> dict[str, Any]:
    """Without what differs between two runs of the same: seconds, and where the data lie."""
    found: dict[str, Any] = json.loads((folder / "study.json").read_text())
    for cell in found["cells"]:
        del cell["seconds"]
    del found["seconds"], found["data"], found["config"]["at_once"]
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


def test_jobs_that_end_at_once_write_one_after_the_other(tmp_path: Path) -> None:
    folder, out = Folder(tmp_path, tmp_path / "cache"), tmp_path / "study"
    assert begin(folder, "study", "--on", "slurm").wait() == 0
    ids = (out / "jobs" / "study.sbatch").read_text().partition("cells=(")[2].partition(")")[0].split()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        both = [begin(folder, "study", "--cell", cell) for cell in ids[:2]]
        wait_for(lambda: len(list(out.glob("cells/*/evaluation/results.json"))) == 2)
        time.sleep(2)
        assert not (out / "study.json").exists()
    assert [process.wait() for process in both] == [0, 0]
    cells = json.loads((out / "study.json").read_text())["cells"]
    assert [cell["state"] for cell in cells] == ["done", "done", "not run", "not run"]


def helpers_of(folder: Path) -> list[int]:
    """The processes that help with the study in this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"--helper" in words and str(folder).encode() in words:
                found.append(int(process.name))
    return found


def wait_for(done: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.2)


def test_several_cells_at_once_give_the_results_of_one_after_the_other(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "cache")
    assert begin(folder, "alone").wait() == 0
    helped = begin(folder, "helped", "--at-once", "2")
    _, told = helped.communicate()
    assert helped.returncode == 0
    assert b"broke down" not in told
    # The helpers read the study from its file, and by that they must come to the same cells.
    assert attempts(tmp_path / "helped") == attempts(tmp_path / "alone")
    assert set(attempts(tmp_path / "helped").values()) == {1}
    assert results(tmp_path / "helped") == results(tmp_path / "alone")
    assert len(list((tmp_path / "helped" / "helpers").iterdir())) == 2


def test_helpers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "cache")
    out = tmp_path / "study"
    process = begin(folder, "study", "--at-once", "2")
    wait_for(lambda: attempts(out))
    assert len(helpers_of(out)) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not helpers_of(out), 60)
    assert begin(folder, "study", "--at-once", "2").wait() == 0
    assert {cell["state"] for cell in results(out)["cells"]} == {"done"}


def test_cells_of_a_helper_that_breaks_down_are_run_without_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, tmp_path / "cache")
    out = tmp_path / "study"
    process = begin(folder, "study", "--at-once", "2")
    wait_for(lambda: attempts(out))
    for helper in helpers_of(out):
        os.kill(helper, signal.SIGKILL)
    _, told = process.communicate()
    assert process.returncode == 0
    assert b"2 of 2 processes broke down" in told
    assert {cell["state"] for cell in results(out)["cells"]} == {"done"}
