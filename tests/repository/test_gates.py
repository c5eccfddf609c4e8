"""Every gate is broken on purpose once: a gate that nobody has seen fail may have its alarm off."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gates import names, sizes, words
from gates.__main__ import main
from tests.support.repository import ROOT

COPIED = (
    "src",
    "gates",
    "docs",
    "benchmarks",
    "reality",
    "tests",
    ".ci",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Makefile",
    "pyproject.toml",
    "constraints.txt",
    ".gitignore",
)
# The weights make the copy slow, and no gate looks at them.
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.egg-info")

NO_TORCH = "src/spavl/store/heavy.py"
LINT_IMPORTS = ("-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache")


class Repository:
    """A copy that a test may break: what it wrote is undone after it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before: dict[Path, str | None] = {}

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        self._before.setdefault(file, file.read_text() if file.exists() else None)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text, f"{path} no longer holds {old!r}; this test must be told where to break it now"
        self.write(path, text.replace(old, new, 1))

    def mend(self) -> None:
        for file, text in self._before.items():
            if text is None:
                file.unlink()
                if not any(file.parent.iterdir()):
                    file.parent.rmdir()
            else:
                file.write_text(text)
        self._before.clear()

    def python(self, *command: str) -> tuple[int, str]:
        """Run a tool on the copy as `make check` runs it on the project: its exit code, and what it said."""
        environment = os.environ | {"PYTHONPATH": str(self.root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        line = [sys.executable, *command]
        done = subprocess.run(line, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


class Gate:
    """`python -m gates NAME` in this process, which has loaded the package once.

    The copy's pages are held to the package of these tests: no test breaks what gates import.
    """

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._capsys, self._monkeypatch = root, capsys, monkeypatch

    def __call__(self, name: str) -> tuple[int, str]:
        with self._monkeypatch.context() as patch:
            # What a gate changes in its process.
            patch.setattr(sys, "path", [*sys.path])
            patch.setattr(os, "environ", os.environ.copy())
            patch.setattr(sys, "argv", ["gates", name, "--root", str(self._root)])
            try:
                code = main()
            except SystemExit as ended:  # how argparse ends
                code = int(ended.code or 0)
        said = self._capsys.readouterr()
        return code, said.out + said.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    root = tmp_path_factory.mktemp("gates") / "copy"
    root.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=NOT_COPIED)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, root / name)
    return Repository(root)


@pytest.fixture
def repository(whole: Repository) -> Iterator[Repository]:
    yield whole
    whole.mend()


@pytest.fixture
def gate(repository: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(repository.root, capsys, monkeypatch)


@pytest.mark.slow
def test_the_unbroken_copy_passes_every_gate(repository: Repository) -> None:
    assert repository.python("-m", "gates") == (
        0,
        "sizes   ok\nnames   ok\nknobs   ok\ndocs    ok\nreadme  ok\nquiet   ok\nwords   ok\n",
    )


def test_an_unknown_gate_is_told(gate: Gate) -> None:
    code, said = gate("size")
    assert code == 2
    assert "the gates are sizes, names, knobs, docs, readme, quiet, words" in said


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("\n" * 401, "broken.py:401  the file has 401 lines"),
        ("@property\ndef long():\n" + "    pass\n" * 59, "broken.py:2  long has 61 lines"),
        ("class C:\n    def wide(self, a, b, c, d, e, f, g, *h, i): ...\n", "broken.py:2  C.wide takes 9 arguments"),
    ],
    ids=["file", "function", "arguments"],
)
def test_sizes_names_what_grew_too_large(repository: Repository, gate: Gate, text: str, place: str) -> None:
    repository.write("src/spavl/broken.py", text)
    code, said = gate("sizes")
    assert code == 1
    assert place in said


def test_sizes_wants_no_exception_that_is_not_needed(
    repository: Repository, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("src/spavl/broken.py", "\n" * 401)
    monkeypatch.setitem(sizes.EXCEPTIONS, "src/spavl/broken.py", "a test")
    assert gate("sizes")[0] == 0
    repository.write("src/spavl/broken.py", "\n")
    code, said = gate("sizes")
    assert code == 1
    assert "the exception for src/spavl/broken.py is not needed" in said


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        ("src/spavl/data/pairs/broken.py", "class Ledger: ...\n", "/ledger.py:"),
        (
            "src/spavl/data/pairs/broken.py",
            "class _Twice: ...\ndef f():\n    class _Twice: ...\n",
            "pairs/broken.py:1 too",
        ),
        ("src/spavl/broken.py", "", "src/spavl/broken.py:1  broken.py lies at the package's root"),
    ],
    ids=["class", "private class", "root"],
)
def test_names_wants_one_class_a_name_and_five_modules_at_the_root(
    repository: Repository, gate: Gate, path: str, text: str, place: str
) -> None:
    repository.write(path, text)
    code, said = gate("names")
    assert code == 1
    assert place in said


def test_names_wants_no_crowded_folder_and_no_exception_that_is_not_needed(
    repository: Repository, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.write("src/spavl/data/crowded/__init__.py", "")
    for number in range(16):
        repository.write(f"src/spavl/data/crowded/broken{number}.py", "")
    monkeypatch.setitem(names.EXCEPTIONS, "src/spavl/data/crowded", "a test")
    code, said = gate("names")
    assert code == 1
    assert "the exception for src/spavl/data/crowded is not needed" in said
    repository.write("src/spavl/data/crowded/broken16.py", "")
    assert gate("names")[0] == 0
    monkeypatch.delitem(names.EXCEPTIONS, "src/spavl/data/crowded")
    code, said = gate("names")
    assert code == 1
    assert "src/spavl/data/crowded:1  the folder holds 17 modules" in said


CONFIG = """
from pydantic import Field
from spavl.config import Settings

class BrokenConfig(Settings):
    {field}

    def rate(self):
        return self.dead_knob
"""


@pytest.mark.parametrize(
    ("field", "place"),
    [
        (
            'dead_knob: int = Field(1, description="does nothing")',
            "broken.py:6  BrokenConfig.dead_knob is read nowhere",
        ),
        ("seed: int = 1", "broken.py:6  BrokenConfig.seed has no description"),
        ("\n    ".join(f"seed{k}: int" for k in range(21)), "broken.py:5  BrokenConfig has 21 fields"),
    ],
    ids=["dead", "not described", "too many"],
)
def test_knobs_names_the_field(repository: Repository, gate: Gate, field: str, place: str) -> None:
    repository.write("src/spavl/broken.py", CONFIG.format(field=field))
    code, said = gate("knobs")
    assert code == 1
    assert place in said


def test_knobs_leaves_records_of_a_runs_files_alone(repository: Repository, gate: Gate) -> None:
    text = "from spavl.stages.notes import JsonRecord\n\n\nclass SpareNotes(JsonRecord):\n    dead_knob: int = 0\n"
    repository.write("src/spavl/broken.py", text)
    assert gate("knobs") == (0, "knobs   ok\n")


@pytest.mark.parametrize(
    ("path", "old", "new", "place"),
    [
        ("docs/commands.md", "# Commands", "# Words", "docs/commands.md:1 "),
        ("docs/commands.md", "usage: spavl demo", "usage: spavl demon", "docs/commands.md:"),
        ("docs/stages.md", "| selection |", "| choice |", "docs/stages.md:"),
        ("README.md", "<!-- commands -->\n", "<!-- commands -->\nby hand\n", "README.md:"),
        ("README.md", "<!-- /commands -->", "", "README.md:1  the markers"),
    ],
    ids=["commands page", "help", "stages", "README", "markers"],
)
def test_docs_names_the_first_stale_line(
    repository: Repository, gate: Gate, path: str, old: str, new: str, place: str
) -> None:
    repository.replace(path, old, new)
    code, said = gate("docs")
    assert code == 1
    assert place in said


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        ("README.md", "\n```sh\nmake demonstration\n```\n", "`make demonstration` is shown"),
        ("CONTRIBUTING.md", "\nType `make chekc`.\n", "`make chekc` is shown"),
        ("README.md", "\nType `spavl bild my.toml`.\n", "`spavl bild` is shown"),
    ],
    ids=["README", "CONTRIBUTING", "command"],
)
def test_readme_names_a_command_that_does_not_exist(
    repository: Repository, gate: Gate, path: str, text: str, place: str
) -> None:
    written = (repository.root / path).read_text() + text
    repository.write(path, written)
    code, said = gate("readme")
    assert code == 1
    line = next(k for k, each in enumerate(written.splitlines(), 1) if place.split("`")[1] in each)
    assert f"{path}:{line}  {place}" in said


def test_readme_wants_the_two_commands(repository: Repository, gate: Gate) -> None:
    repository.replace("README.md", "## Two commands", "## Commands")
    code, said = gate("readme")
    assert code == 1
    assert 'README.md:1  the heading "## Two commands" is missing' in said


def test_ci_must_run_what_people_run(repository: Repository, gate: Gate) -> None:
    repository.replace(".ci/run", "make test", "make test-slow")
    code, said = gate("readme")
    assert code == 1
    assert ".ci/run:1  CI does not run `make test`" in said


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        ("docs/broken.md", "fine\nsee /hom" + "e/me/notes\n", "docs/broken.md:2  a path of one machine"),
        ("src/spavl/broken.py", "# TO" + "DO: finish\n", "src/spavl/broken.py:1  a note to self"),
    ],
    ids=["path", "note"],
)
def test_quiet_names_the_line(repository: Repository, gate: Gate, path: str, text: str, place: str) -> None:
    repository.write(path, text)
    code, said = gate("quiet")
    assert code == 1
    assert place in said


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        ("docs/broken.md", "fine\n[terms](glosary.md)\n", "docs/broken.md:2  a link to what is not there: glosary.md"),
        ("docs/broken.md", "[terms](glossary.md#dta)\n", "docs/broken.md:1  a link to what is not there"),
        ("docs/broken.md", "see\n`models/hf.py`\n", "docs/broken.md:2  a module that is not there: models/hf.py"),
        ("docs/broken.md", "`tables/exam.parquet`\n", "docs/broken.md:1  a table that no stage writes: exam"),
        ("src/spavl/report/broken.html", "in tables/exam.parquet\n", "src/spavl/report/broken.html:1  a table that no"),
    ],
    ids=["link to a file", "link to a heading", "module", "table", "table in a report"],
)
def test_docs_names_what_is_not_there(repository: Repository, gate: Gate, path: str, text: str, place: str) -> None:
    repository.write(path, text)
    code, said = gate("docs")
    assert code == 1
    assert place in said


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        ("src/spavl/broken.py", "class ExamRoom:\n    pass\n", "src/spavl/broken.py:1  'Exam' is not the field's word"),
        ("src/spavl/broken.py", "def ask(picture_id: int) -> None: ...\n", "src/spavl/broken.py:1  'picture'"),
        ("docs/broken.md", "fine\nDuels are foretold.\n", "docs/broken.md:2  'foretold'"),
        ("src/spavl/report/broken.html", "Items hang together.\n", "src/spavl/report/broken.html:1  'hang together'"),
    ],
    ids=["class", "argument", "prose", "phrase"],
)
def test_words_names_the_line(repository: Repository, gate: Gate, path: str, text: str, place: str) -> None:
    repository.write(path, text)
    code, said = gate("words")
    assert code == 1
    assert place in said


def test_words_keeps_the_prompts_of_models(repository: Repository, gate: Gate) -> None:
    repository.write("src/spavl/data/questions/prompts/v2/easy.txt", "Look at the picture.\n")
    assert gate("words") == (0, "words   ok\n")


def test_words_wants_no_exception_that_is_not_needed(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    needless = words.Exempt("src/spavl/store/*", "heed", "a test")
    monkeypatch.setattr(words, "EXEMPT", (needless, *words.EXEMPT))
    code, said = gate("words")
    assert code == 1
    assert "the exception for src/spavl/store/* (heed) is not needed" in said


@pytest.mark.parametrize(
    ("path", "text", "place"),
    [
        (NO_TORCH, "import torch\n\nprint_ = torch\n", f"{NO_TORCH}:1:8: TID253"),
        ("src/spavl/broken.py", "import os\n", "src/spavl/broken.py:1:8: F401"),
    ],
    ids=["torch in the store", "unused import"],
)
def test_ruff_names_the_line(repository: Repository, path: str, text: str, place: str) -> None:
    repository.write(path, text)
    code, said = repository.python("-m", "ruff", "check", "--no-cache", "--output-format=concise", "src")
    assert code == 1
    assert place in said


def test_mypy_wants_every_function_typed(repository: Repository) -> None:
    repository.write("src/spavl/broken.py", "def double(number):\n    return 2 * number\n")
    # One file by its name, as checking the whole package anew takes long; the settings are the project's.
    code, said = repository.python("-m", "mypy", "--follow-imports=silent", "src/spavl/broken.py")
    assert code == 1
    assert "src/spavl/broken.py:1: error: Function is missing a type annotation" in said


@pytest.mark.parametrize(
    ("path", "text", "contract", "place"),
    [
        (
            "src/spavl/store/broken.py",
            "import spavl.models.types\n",
            "imports run downward only BROKEN",
            "spavl.store.broken -> spavl.models.types (l.1)",
        ),
        (
            "src/spavl/data/pairs/broken.py",
            "import spavl.data.selection.config\n",
            "stages meet on disk and never import each other BROKEN",
            "spavl.data.pairs.broken -> spavl.data.selection.config (l.1)",
        ),
        (
            NO_TORCH,
            "def load():\n    import torch\n",
            "the ground holds no torch BROKEN",
            "spavl.store.heavy -> torch (l.2)",
        ),
    ],
    ids=["layers", "independence", "torch in a function"],
)
def test_import_linter_names_the_import(
    repository: Repository, path: str, text: str, contract: str, place: str
) -> None:
    repository.write(path, text)
    code, said = repository.python(*LINT_IMPORTS)
    assert code == 1
    assert contract in said
    assert place in said
