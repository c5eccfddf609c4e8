"""A folder with files that somebody else put there is nothing to write into."""

import asyncio
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from spavl.cli import main
from spavl.errors import StoreError
from spavl.store import RunFolder
from tests.store.test_store import a_call
from tests.support.evaluations import write_spa_vl


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What a user may have in a folder: names that spavl writes, too, and one that only looks like a run's."""
    folder = tmp_path / "home"
    (folder / "dataset").mkdir(parents=True)
    for name in ("dataset/train-00000-of-00001.parquet", "config.toml", "report.html", "summary.json", "thesis.txt"):
        (folder / name).write_text(f"mine: {name}")
    monkeypatch.chdir(folder)
    before = files_in(folder)
    yield folder
    assert files_in(folder) == before


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("out", [".", "../home", "dataset"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["train", "dpo", "--model", "miniature/base", "--data", "../data"],
        ["eval", "miniature/base", "--suite", "helpeval", "--data", "../data", "--guard", "keywords/gcg@2"],
    ],
    ids=lambda command: command[0],
)
def test_no_command_works_in_a_folder_of_other_files(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str], dry: list[str], out: str
) -> None:
    write_spa_vl(tmp_path / "data", 2, 2)
    assert main.main([*command, "--out", out, *dry]) != 0
    told = capsys.readouterr().err
    assert "this folder holds other files already" in told and "--out" in told


def test_nothing_is_brought_in_or_taken_out_into_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_spa_vl(tmp_path / "data", 2, 2)
    assert main.main(["data", "import", "../data", "--out", "."]) != 0
    assert main.main(["miniature", "--out", "."]) != 0
    assert main.main(["data", "import", "../data", "--out", "../run"]) == 0
    assert main.main(["data", "export", "../run", "--format", "trl", "--out", "dataset"]) != 0
    assert capsys.readouterr().err.count("this folder holds other files already") == 3


def test_a_run_takes_no_second_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, rows in (("one", 2), ("other", 3)):
        write_spa_vl(tmp_path / name, rows, rows)
    into = ["--out", str(tmp_path / "run")]
    assert main.main(["data", "import", str(tmp_path / "one"), *into]) == 0
    held = files_in(tmp_path / "run" / "dataset")
    assert main.main(["data", "import", str(tmp_path / "other"), *into]) != 0
    assert "this run holds another data set" in capsys.readouterr().err
    assert files_in(tmp_path / "run" / "dataset") == held
    assert main.main(["data", "import", str(tmp_path / "one"), *into]) == 0


@pytest.mark.parametrize("until", ["taxonomy", pytest.param("questions", marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", ["import", "train", "dry run"])
def test_no_data_set_is_brought_into_a_build_in_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], until: str, command: str
) -> None:
    """The import wrote over its tables, and the next build took their rows for done."""
    write_spa_vl(tmp_path / "data", 2, 2)
    (tmp_path / "my.toml").write_text("selection.per_leaf = 1\n")
    run, data = str(tmp_path / "run"), str(tmp_path / "data")
    assert main.main(["build", str(tmp_path / "my.toml"), "--out", run, "--until", until]) == 0
    held = files_in(tmp_path / "run")
    train = ["train", "dpo", "--model", "miniature/base", "--data", data, "--out", run]
    words = {"import": ["data", "import", data, "--out", run], "train": train, "dry run": [*train, "--dry-run"]}
    assert main.main(words[command]) == 2
    assert "this run holds other work already: " in capsys.readouterr().err
    assert files_in(tmp_path / "run") == held


def test_no_data_set_is_brought_into_a_stage_that_is_unfinished_or_to_paid_calls(tmp_path: Path) -> None:
    write_spa_vl(tmp_path / "data", 2, 2)
    with RunFolder(tmp_path / "journal") as run:
        run.journal("taxonomy", "f").close()
    with RunFolder(tmp_path / "calls") as run:
        asyncio.run(run.ledger.put(a_call()))
    for name in ("journal", "calls"):
        assert main.main(["data", "import", str(tmp_path / "data"), "--out", str(tmp_path / name)]) == 2


def test_an_import_that_was_stopped_is_done_again_from_the_same_place_alone(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_spa_vl(tmp_path / name, 2, 2)
    into = ["--out", str(tmp_path / "run")]
    assert main.main(["data", "import", str(tmp_path / "one"), *into]) == 0
    (tmp_path / "run" / "stages" / "dataset.json").unlink()
    assert main.main(["data", "import", str(tmp_path / "other"), *into]) == 2
    assert main.main(["data", "import", str(tmp_path / "one"), *into]) == 0


def test_the_next_command_can_be_typed_whatever_a_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_spa_vl(tmp_path / "data", 2, 2)
    name = "my runs/it's $HOME"
    for command in (
        ["data", "import", "data", "--out", name],
        ["new", f"{name}.toml"],
        ["pool", "new", f"{name}.pool"],
        ["taxonomy", "new", f"{name}.tax"],
        ["taxonomy", "check", f"{name}.tax"],
    ):
        assert main.main(command) == 0
        (typed,) = (line for line in capsys.readouterr().out.splitlines() if "spavl " in line)
        words = shlex.split(typed.replace(f"wrote {name}", "wrote").partition("spavl ")[2])
        assert any(word.startswith(name) for word in words)


def test_an_empty_folder_and_one_whose_run_was_killed_as_it_began_are_taken(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.ab12").write_text('{"for')
    for _ in range(2):
        with RunFolder(tmp_path):
            pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("a thesis")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(mine)
    with pytest.raises(StoreError, match="a link stands"):
        RunFolder(tmp_path / "run")
    assert mine.read_text() == "a thesis"
