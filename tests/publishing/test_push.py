"""Publishing on a hub: in few commits, to the end after a kill, and nothing twice."""

import hashlib
import os
import signal
import time
from pathlib import Path

from spavl.records import Sample
from tests.pipeline.test_pipeline import Walked, copied, rows, walk, walked
from tests.support.forked import Forked
from tests.support.hub import FakeHub, with_hub

__all__ = ["copied", "walked"]


def start(hub: FakeHub, home: Path, *words: str) -> Forked:
    return with_hub(hub, home, "data", *words, HF_TOKEN="hf_made_up")


def push(run: Path, hub: FakeHub, home: Path) -> str:
    process = start(hub, home, "push", str(run), "someone/set")
    assert process.wait(60) == 0, process.stderr
    return process.stdout


def files_of(run: Path) -> dict[str, bytes]:
    folder = run / "dataset"
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_push_puts_all_of_it_there_in_two_commits_and_a_second_one_does_nothing(
    walked: Walked, tmp_path: Path
) -> None:
    with FakeHub() as hub:
        assert f"{hub.url}/datasets/someone/set" in push(walked.run, hub, tmp_path)
        local = files_of(walked.run)
        local["README.md"] = local["README.md"].replace(b"OWNER/NAME", b"someone/set")
        assert hub.files == local and b"someone/set" in local["README.md"]
        assert len(hub.commits) == 2
        assert "README.md" in hub.commits[1], "the card comes when all it names is there"
        push(walked.run, hub, tmp_path)
        assert len(hub.commits) == 2 and set(hub.uploads.values()) == {1}


def test_a_push_that_was_killed_goes_on_and_uploads_no_finished_shard_again(walked: Walked, tmp_path: Path) -> None:
    killed = []

    def kill_at_the_third(number: int) -> None:
        if number == 3 and not killed:
            killed.append(number)
            os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.2)

    with FakeHub(kill_at_the_third) as hub:
        process = start(hub, tmp_path, "push", str(walked.run), "someone/set")
        assert process.wait(60) == -signal.SIGKILL
        assert killed and not hub.commits
        push(walked.run, hub, tmp_path)
        shards = {data for name, data in files_of(walked.run).items() if name.endswith(".parquet")}
        assert set(hub.uploads) == {hashlib.sha256(data).hexdigest() for data in shards}
        assert set(hub.uploads.values()) == {1}
        assert len(hub.commits) == 2


def test_what_was_pushed_comes_back_by_its_name_on_the_hub(walked: Walked, tmp_path: Path) -> None:
    with FakeHub() as hub:
        push(walked.run, hub, tmp_path)
        process = start(hub, tmp_path, "import", "someone/set", "--out", str(tmp_path / "run"))
        assert process.wait(60) == 0, process.stderr

    def said(run: Path) -> list[tuple[str, ...]]:
        return sorted((s.question, s.chosen, s.rejected, s.split, s.leaf) for s in rows(run, "dataset", Sample))

    assert said(tmp_path / "run") == said(walked.run)


def test_a_newer_data_set_takes_the_place_of_the_older_one(copied: Walked, tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.files["data/train-00007-of-00009.parquet"] = b"of an older one"
        hub.files[".gitattributes"] = b"the hub's own"
        push(copied.run, hub, tmp_path)
        walk(copied.settings(pairs__per_question="2"), copied.run)
        push(copied.run, hub, tmp_path)
        assert set(hub.files) == {*files_of(copied.run), ".gitattributes"}
        for name, data in files_of(copied.run).items():
            assert hub.files[name] == data.replace(b"OWNER/NAME", b"someone/set")


def test_a_hub_that_is_not_there_is_told_in_words(walked: Walked, tmp_path: Path) -> None:
    with FakeHub() as hub:
        pass
    process = start(hub, tmp_path, "push", str(walked.run), "someone/set")
    assert process.wait(60) == 2
    assert "cannot be reached" in process.stderr and "type the same command" in process.stderr
