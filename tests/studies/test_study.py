"""A study end to end on a small data set: its numbers, what it does again, and what it never does twice."""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from spavl.cli.main import main
from tests.support.studies import GUARD, rows_of_page, write_study_data

STUDY = """
question = "Does it matter how many pairs there are?"
seeds = [1]
[axes]
selection.pairs = [6, 12]
[training]
batch_size = 6
[training.loop]
learning_rate = 1e-3
warmup_steps = 0
[quick]
selection.pairs = 4
"""


class Folder:
    """A study and how to run it."""

    def __init__(self, place: Path, cache: Path) -> None:
        self.place, self.cache = place, cache
        self.out, self.file = place / "study", place / "sizes.toml"
        self.file.write_text(STUDY)
        write_study_data(place / "set")

    def words(self, out: str, *more: str) -> list[str]:
        common = ["--model", "miniature/base", "--data", str(self.place / "set"), "--out", str(self.place / out)]
        measure = ["--suite", "harmeval,helpeval", "--benchmarks", str(self.place / "set"), "--max-tokens", "8"]
        guard = [] if "--guard" in more else ["--guard", GUARD]
        return ["study", str(self.file), *common, *measure, *guard, *more]

    def run(self, *more: str, out: str = "study") -> int:
        return main(self.words(out, *more))

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "study.json").read_text())
        return found

    def written(self, pattern: str) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.out.glob(pattern)}

    def calls(self) -> int:
        """Answers that models have generated in all cells."""
        number = 0
        for ledger in self.out.glob("cells/*/evaluation/ledger"):
            with sqlite3.connect(ledger / "calls.sqlite") as database:
                number += database.execute("SELECT count(*) FROM calls").fetchone()[0]
            number += sum(pq.read_metadata(file).num_rows for file in ledger.glob("*.parquet"))
        return number


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    place = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPAVL_CACHE", str(place / "cache"))
        folder = Folder(place, place / "cache")
        assert folder.run() == 0
        yield folder


@pytest.fixture(autouse=True)
def one_cache(study: Folder, a_cache_of_its_own: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAVL_CACHE", str(study.cache))


def test_its_cells_are_each_arm_with_each_seed_and_the_base_once(study: Folder) -> None:
    cells = study.results["cells"]
    assert [(each["arm"], each["pairs"], each["state"]) for each in cells] == [
        ("untrained", 0, "done"),
        ("6 pairs", 6, "done"),
        ("12 pairs", 12, "done"),
        ("24 pairs", 24, "done"),
    ]
    assert [each["steps"] for each in cells] == [0, 1, 2, 4]


def test_its_numbers_are_those_of_its_cells(study: Folder) -> None:
    """Computed again from the tables of judgements, without spavl's own reading of them."""
    page = list(rows_of_page((study.out / "report.html").read_text()))
    table = (study.out / "table.md").read_text().splitlines()
    untrained: dict[tuple[str, str], float] = {}
    seen = 0
    for cell in study.results["cells"]:
        folder = study.out / "cells" / cell["id"] / "evaluation" / "tables"
        items = {row["id"]: row for row in pq.read_table(folder / "items.parquet").to_pylist()}
        # The list of keywords judges twice: as the guard, and as one of the lists that every evaluation has.
        values: dict[tuple[str, str], dict[str, float]] = {}
        for row in pq.read_table(folder / "judgements.parquet").to_pylist():
            item = items[row["item_id"]]
            if row["judge"] != GUARD:
                continue
            if (row["measure"], item["wants"]) == ("unsafe", "refuse"):
                values.setdefault((item["benchmark"], "unsafe"), {})[item["id"]] = row["value"]
            if (row["measure"], item["wants"]) == ("refused", "help"):
                values.setdefault((item["benchmark"], "over_refusal"), {})[item["id"]] = row["value"]
        told = {tuple(each["name"].values())[:2]: each["rate"] for each in cell["rates"]}
        for name, own in values.items():
            assert told[name]["value"] == pytest.approx(sum(own.values()) / len(own))
            assert told[name]["n"] == len(own)
            rate = sum(own.values()) / len(own)
            # The untrained model, which the others are compared with, is the first cell.
            gap = rate - untrained.setdefault(name, rate)
            (row,) = (row for row in page if row[:3] == (name[0], name[1].replace("_", "-"), cell["arm"]))
            assert row.rate == f"{100 * rate:.1f}\u202f%"
            shown = row.difference.partition(" points")[0].replace("\u2212", "-").replace("\u202f", "")
            assert (not shown and cell["arm"] == "untrained") or float(shown) == round(100 * gap, 1)
            (line,) = (line for line in _rows_of(table, name[0]) if line.startswith(f"| {cell['arm']} |"))
            assert f"{100 * rate:.1f}\u202f%" in line
            seen += 1
    assert seen == 8


def _rows_of(table: Sequence[str], benchmark: str) -> Sequence[str]:
    first = next(place for place, line in enumerate(table) if line.startswith(f"| {benchmark} |"))
    return list(takewhile(bool, table[first:]))


def test_typed_again_it_does_nothing_again(study: Folder) -> None:
    before, calls = study.written("cells/*/checkpoints/**/*"), study.calls()
    was = study.results
    assert before and study.run() == 0
    assert study.written("cells/*/checkpoints/**/*") == before
    assert study.calls() == calls
    assert study.results == was


def test_another_guard_asks_and_trains_nothing_again(study: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    before, calls = study.written("cells/*/checkpoints/**/*"), study.calls()
    assert study.run("--guard", "keywords/autodan@1") == 0
    assert study.written("cells/*/checkpoints/**/*") == before
    assert study.calls() == calls
    assert "keywords/autodan" in str(study.results["config"]["measure"]["guard"])
    assert study.run() == 0


@pytest.mark.slow
def test_a_new_arm_reuses_every_score_of_the_reference(study: Folder) -> None:
    """Of all pairs with swapped answers, which are the same answers under the same reference."""
    database = next(study.cache.rglob("references.sqlite"))

    def scores() -> int:
        with sqlite3.connect(database) as opened:
            return int(opened.execute("SELECT count(*) FROM answers").fetchone()[0])

    before = scores()
    assert before >= 48
    assert study.run("--selection.noise", "0.25", out="noisy") == 0
    assert scores() == before


def test_a_cell_that_fails_is_told_and_ends_no_other(study: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    file = study.place / "failing.toml"
    arms = "[arms.good]\nselection.pairs = 6\n[arms.bad]\ntraining.trainable.vision = 99\n"
    file.write_text(f'question = "?"\nseeds = [1]\n{arms}')
    out = study.place / "failing"
    words = ["--model", "miniature/base", "--data", str(study.place / "set"), "--out", str(out), "--guard", GUARD]
    words += ["--suite", "harmeval", "--benchmarks", str(study.place / "set"), "--max-tokens", "8"]
    assert main(["study", str(file), *words]) == 2
    told = capsys.readouterr()
    assert "1 of 3 cells failed: bad" in told.err and "vision" in told.err
    states = {each["arm"]: each["state"] for each in json.loads((out / "study.json").read_text())["cells"]}
    assert states == {"untrained": "done", "good": "done", "bad": "failed"}
    assert "blocks" in (out / "report.html").read_text()


def test_the_small_form_of_a_study_that_ships_runs_on_imported_data(study: Folder) -> None:
    """On the demo's data set all of them run in the slow tests."""
    out = study.place / "labels"
    words = study.words("labels", "--quick", "--measure.limit", "6")
    assert main(["study", "labels", *words[2:]]) == 0
    results = json.loads((out / "study.json").read_text())
    assert [(cell["arm"], cell["state"]) for cell in results["cells"]] == [
        ("untrained", "done"),
        ("as labelled", "done"),
        ("40 % swapped", "done"),
    ]
    assert "40 % swapped" in (out / "table.md").read_text()


def test_a_dry_run_lists_the_cells_and_writes_nothing(study: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    before = study.written("**/*")
    assert study.run("--dry-run") == 0
    told = capsys.readouterr().out
    assert told.count("done") >= 4 and "4 cells, 4 of them done" in told
    assert study.written("**/*") == before
    # A data set that the study has not imported yet.
    more = write_study_data(study.place / "more")
    words = study.words("study", "--dry-run")
    words.insert(words.index("--data") + 2, f"self={more}")
    assert main(words) == 0
    assert study.written("**/*") == before


def test_what_is_misspelled_is_told_with_what_is_meant(study: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "scael", "--model", "miniature/base", "--data", "x"]) == 2
    assert "did you mean scale" in capsys.readouterr().err
    study.file.with_name("wrong.toml").write_text("[arms.a]\nselection.piars = 3\n")
    words = ["--model", "miniature/base", "--data", str(study.place / "set"), "--out", str(study.place / "wrong")]
    assert main(["study", str(study.file.with_name("wrong.toml")), *words]) == 2
    assert "selection.piars" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no judge is configured"),
        (("--dry-run",), "no judge is configured"),
        (("--on", "slurm"), "no judge is configured"),
        (("--guard", "rules/minature"), "did you mean rules/miniature"),
        (("--guard", GUARD, "--suite", "advbench"), "the data of 1 benchmarks are missing"),
    ],
)
def test_what_every_cell_needs_is_missed_before_the_first_is_trained(
    study: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], told: str
) -> None:
    common = ["--model", "miniature/base", "--data", str(study.place / "set"), "--out", str(tmp_path / "out")]
    suite = [] if "--suite" in words else ["--suite", "harmeval", "--benchmarks", str(study.place / "set")]
    assert main(["study", str(study.file), *common, *suite, *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out" / "cells").exists()
    assert not (tmp_path / "out" / "jobs").exists()


def test_results_by_another_guard_are_not_taken_for_those_of_this_one(
    study: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.run("--guard", "keywords/autodan@1", "--dry-run") == 0
    assert "4 cells, 0 of them done" in capsys.readouterr().out


def test_a_finished_cell_whose_folder_is_broken_is_told_and_ends_no_other(study: Folder) -> None:
    last = study.results["cells"][-1]["id"]
    manifest = study.out / "cells" / last / "stages" / "training.json"
    whole = manifest.read_text()
    manifest.write_text(whole[:40])
    assert study.run() == 2
    cells = study.results["cells"]
    assert [cell["state"] for cell in cells] == ["done", "done", "done", "failed"]
    assert "not a manifest" in cells[-1]["failure"]
    assert study.run("--dry-run") == 0
    # The job of another cell has not failed for that.
    assert study.run("--cell", cells[1]["id"]) == 0
    assert study.run("--cell", last) == 2
    manifest.write_text(whole)
    assert study.run() == 0


@pytest.mark.parametrize("lost", ["stages/training.json", "evaluation/stages/judgements.json"])
def test_a_cell_that_has_lost_a_file_is_done_again_by_what_its_failure_says(
    study: Folder, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = study.results["cells"]
    folder = study.out / "cells" / before[1]["id"]
    (folder / lost).unlink()
    assert study.run() == 2
    said, failed = capsys.readouterr().err, study.results["cells"][1]
    assert failed["state"] == "failed" and failed["failure"].splitlines()[0] in said
    calls = study.calls()
    if lost.startswith("evaluation"):
        assert f"delete all but the ledger in {folder / 'evaluation'};" in failed["failure"]
        for path in (folder / "evaluation").iterdir():
            if path.name != "ledger":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    else:
        assert f"delete {folder};" in failed["failure"]
        shutil.rmtree(folder)
    assert study.run() == 0
    assert [{**cell, "seconds": 0} for cell in study.results["cells"]] == [{**cell, "seconds": 0} for cell in before]
    assert study.calls() == calls


def test_a_broken_cell_of_the_untrained_model_ends_no_other(study: Folder) -> None:
    file = study.out / "cells" / study.results["cells"][0]["id"] / "run.json"
    whole = file.read_text()
    file.write_text("")
    assert study.run() == 2
    assert [cell["state"] for cell in study.results["cells"]] == ["failed", "done", "done", "done"]
    file.write_text(whole)
    assert study.run() == 0


def test_another_study_in_its_folder_is_told(study: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    other = study.place / "other.toml"
    other.write_text(STUDY)
    assert main(["study", str(other), *study.words("study")[2:]]) == 0
    assert "the study 'sizes' in this folder are replaced" in capsys.readouterr().err
    assert study.run() == 0
    assert "the study 'other' in this folder are replaced" in capsys.readouterr().err
    assert study.run() == 0
    assert "are replaced" not in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(study: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.run(out="sizes.toml/below") == 2
    assert "choose another folder" in capsys.readouterr().err


def test_lost_help_is_measured_against_the_model_before_training_whatever_the_control_is(study: Folder) -> None:
    assert study.run("--control", "24 pairs") == 0
    signs = [each for each in study.results["signs"] if "refusals" in each["sign"]]
    assert [each["arm"] for each in signs] == ["6 pairs", "12 pairs", "24 pairs"]
    assert all("than untrained" in each["sign"] for each in signs)
    assert study.run() == 0


def test_the_page_and_the_table_say_what_redoes_the_study(study: Folder) -> None:
    page, table = ((study.out / name).read_text() for name in ("report.html", "table.md"))
    for text in (
        "miniature/base",
        "dpo",
        "epochs",
        "batch size 6",
        "learning rate 0.001",
        "answers of 8 tokens at most",
    ):
        assert text in page and text in table
    assert "over items, of one seed" in table
    assert page.count(GUARD) == 1 and GUARD in table and str(study.place / "set") in table
    # The file beside the page is the study.
    assert main(["study", str(study.out / "study.toml"), "--out", str(study.out), "--dry-run"]) == 0


@pytest.mark.slow
def test_groups_are_told_of_each_model(study: Folder) -> None:
    words = study.words("groups", "--analysis", "bias", "--selection.pairs", "6")
    words.insert(words.index("miniature/base") + 1, "miniature/qwen")
    file = study.place / "groups.toml"
    file.write_text('question = "?"\nseeds = [1]\n[arms.x]\n')
    assert main(["study", str(file), *words[2:]]) == 0
    tables = json.loads((study.place / "groups" / "study.json").read_text())["tables"]
    notes = {table["notes"][0] for table in tables if table["notes"]}
    assert {f"Of “x ({model}), seed 1” and “untrained ({model})”." for model in ("base", "qwen")} <= notes


def test_a_question_forges_no_row_and_no_tag(study: Folder) -> None:
    before = study.file.read_text()
    forged = STUDY.replace("there are?", "there are | <script>x</script>\\n| forged | row |\\u001b[31m")
    study.file.write_text(forged)
    assert study.run() == 0
    for name in ("report.html", "table.md"):
        text = (study.out / name).read_text()
        assert "<script" not in text and "\x1b" not in text
    assert "\n| forged" not in (study.out / "table.md").read_text()
    study.file.write_text(before)
    assert study.run() == 0
