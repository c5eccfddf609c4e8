"""What people meet when they type: quick help, one clear message for what is wrong, and work that is never lost."""

import asyncio
import fcntl
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from spavl.cli.main import FAMILIES, commands
from spavl.config import options
from spavl.pipeline.registry import BuildConfig
from tests.support.command_line import spavl_here
from tests.support.forked import Forked, ran
from tests.support.servers import Body, ChatServer, body_hash, echo
from tests.support.taxonomies import ONE_LEAF

START = "import sys; from spavl.cli.main import main; sys.exit(main())"
SETTINGS = """
taxonomy.file = "taxonomy.toml"
selection.per_leaf = 4
selection.test_share = 0.25
"""


def spavl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with settings for a small pipeline."""
    (tmp_path / "taxonomy.toml").write_text(ONE_LEAF)
    (tmp_path / "my.toml").write_text(SETTINGS)
    return tmp_path


def assert_told(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """There is one message, it says what was wrong and what to do next, and it is no fault of spavl."""
    said = done.stderr
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert said.count("spavl: ") == said.count("  next:  ") == 1, said
    message = said[said.index("spavl: ") :]
    assert all(word in message for word in words), f"{words} are not all in: {message}"


def assert_stopped_at(run: Path, stage: str) -> None:
    """The failing stage left nothing that looks finished, and no file is half-written."""
    assert not (run / "stages" / f"{stage}.json").exists()
    assert not (run / "tables" / f"{stage}.parquet").exists()
    assert not (run / "report.html").exists()
    assert [path.name for path in run.rglob(".*")] == [".lock"]


# --- help


def test_help_lists_every_family_and_comes_at_once(tmp_path: Path) -> None:
    """In processor time, since on a busy machine any process waits."""
    seconds = []
    for _ in range(5):
        began = _of_children()
        done = spavl(tmp_path, "--help")
        seconds.append(_of_children() - began)
        assert done.returncode == 0
        assert all(f"\n  {family.name} " in done.stdout for family in FAMILIES)
    assert min(seconds) <= 0.4


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'daft', 'pyarrow', 'aiohttp', 'pydantic', 'PIL', 'rich'}"
    check = "import sys; from spavl.cli.main import main; main([]); "
    check += f"print('loaded:', {heavy} & sys.modules.keys() or 'none')"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "loaded: none"


@pytest.mark.parametrize("name", [command.name for command in commands()])
def test_every_command_explains_itself(tmp_path: Path, name: str) -> None:
    done = spavl_here(tmp_path, *name.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: spavl {name}")
    assert not list(tmp_path.iterdir())
    if name == "build":
        assert all(f"--{option.name.replace('_', '-')} " in done.stdout for option in options(BuildConfig))


def test_the_families_are_those_of_the_commands() -> None:
    """They are listed without the code of their commands, so they have to say what it says."""
    for family in FAMILIES:
        found = family.load()
        names = [f"{family.name} {each}" for each in family.commands] or [family.name]
        assert [command.name for command in found] == names
        if not family.commands:
            assert found[0].help == family.help


@pytest.mark.parametrize("family", [family.name for family in FAMILIES if family.commands])
def test_a_family_alone_lists_its_commands(tmp_path: Path, family: str) -> None:
    done = spavl_here(tmp_path, family)
    assert (done.returncode, done.stderr) == (0, "")
    names = [command.name for command in commands() if command.name.startswith(f"{family} ")]
    assert all(f"\n  {name} " in done.stdout for name in names)


def test_no_arguments_are_a_wish_for_help(tmp_path: Path) -> None:
    assert spavl(tmp_path).stdout == spavl(tmp_path, "--help").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("biuld",), ("unknown command: biuld", "did you mean spavl build?")),
        (("taxonomy", "shwo"), ("unknown command: taxonomy shwo", "did you mean spavl taxonomy show?")),
        (("taxonomy", "tree"), ("unknown command: taxonomy tree", "spavl taxonomy show, spavl taxonomy check")),
        (("dpo",), ("unknown command: dpo", "did you mean spavl train dpo?")),
        (("--verbose",), ("unknown option: --verbose", "spavl --help")),
        (("--versoin",), ("unknown option: --versoin", "did you mean --version?")),
        (("build",), ("FILE.toml is missing", "spavl build FILE.toml [options]", "spavl build --help")),
        (("train", "dpo"), ("--model and --data are missing", "where: spavl train dpo")),
        (("train", "dpo", "--learing-rate", "1"), ("unknown option: --learing-rate", "did you mean --learning-rate?")),
        (("train", "dpo", "--training.dop.beta=1"), ("--training.dop.beta", "did you mean --beta?")),
        (("train", "dpo", "--preset", "spa-vl-dop"), ("'spa-vl-dop'", "did you mean spa-vl-dpo")),
        (("eval", "--siute", "safety"), ("unknown option: --siute", "did you mean --suite?")),
        (("eval", "fixed/refuse", "--suite", "safty", "--data", "x"), ("'safty'", "did you mean safety?")),
        (("build", "my.toml", "--until", "question"), ("'question'", "did you mean questions?")),
        (("build", "my.toml", "more"), ("nothing is expected here: more", "spavl build FILE.toml")),
        (("build", "my.toml", "--out"), ("--out: expected one argument", "where: spavl build")),
        (("build", "my.toml", "--budget", "5eur"), ("'5eur'", "50usd")),
        (("miniature", "--seed", "one"), ("'one' is no seed", "where: --seed", "whole number")),
        (("data", "export", "run", "--format", "tlr"), ("'tlr'", "did you mean trl?")),
        (("pool", "new", "p.toml", "--like", "modern12"), ("'modern12'", "did you mean modern-12?")),
    ],
)
def test_a_slip_of_the_fingers_is_one_error_that_says_what_was_meant(
    tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    assert_told(spavl_here(tmp_path, *words), *said)
    assert not list(tmp_path.iterdir())


# --- settings that are wrong: told before anything is written

WRONG_SETTINGS = {
    "unknown key": ("immages.per_leaf = 3", (), ("unknown setting: immages", "my.toml", "selection")),
    "unknown key in a section": ("[selection]\nper_leef = 3", (), ("unknown setting: selection.per_leef", "per_leaf")),
    "wrong type": ("[selection]\nper_leaf = 'many'", (), ("selection.per_leaf", "'many'", "my.toml")),
    "wrong type, typed": ("", ("--selection.per_leaf", "many"), ("selection.per_leaf", "'many'")),
    "a value for a section": ("selection = 3", ("--selection.per_leaf", "3"), ("selection", "my.toml")),
    "not TOML": ("selection = [", (), ("not a TOML file", "my.toml")),
    "a misspelt section": ("[trainig]\nepochs = 2", (), ("unknown setting: trainig", "did you mean training?")),
    "a misspelt kind of model": (
        "[questions]\nwriter = 'opneai/gpt-4o'",
        (),
        (
            "no such kind of model: 'opneai/gpt-4o'",
            "where: questions.writer = 'opneai/gpt-4o'",
            "did you mean openai/gpt-4o?",
        ),
    ),
    "a misspelt form of a guard": (
        "",
        ("--verdicts.guard", "lama-guard-3/openai/x"),
        ("'lama-guard-3/openai/x'", "did you mean llama-guard-3/openai/x"),
    ),
    "an unknown persona": (
        "",
        ("--questions.writer", "miniature/bad"),
        ("questions.writer = 'miniature/bad'", "careful"),
    ),
    "a model without a kind": ("", ("--questions.writer", "gpt-4o"), ("no model is called 'gpt-4o'", "openai/NAME")),
    "no such folder of a model": ("", ("--questions.writer", "./nothing"), ("no such folder", "'./nothing'")),
}


@pytest.mark.parametrize(("text", "words", "said"), WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_wrong_settings_are_told_before_anything_is_written(
    tmp_path: Path, text: str, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    (tmp_path / "my.toml").write_text(text)
    assert_told(spavl_here(tmp_path, "build", "my.toml", *words), *said)
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]


@pytest.mark.parametrize(("file", "said"), [("no.toml", "no such file"), (".", "cannot read")])
def test_settings_that_are_no_file_are_told(tmp_path: Path, file: str, said: str) -> None:
    assert_told(spavl_here(tmp_path, "build", file), said, f"where: {file}")
    assert not list(tmp_path.iterdir())


# --- a pipeline that cannot be gone: told at its stage, which leaves nothing half-done

NO_PIPELINE = {
    "no such taxonomy": ("taxonomy", ("--taxonomy.file", "no.toml"), ("no such taxonomy", "no.toml")),
    "a garbled taxonomy": ("taxonomy", ("--taxonomy.file", "my.toml"), ("my.toml", "spavl taxonomy check my.toml")),
    "a folder as taxonomy": ("taxonomy", ("--taxonomy.file", "."), ("where: .",)),
    "no such images": ("sourcing", ("--sourcing.source", "no/such"), ("no such folder", "no/such")),
    "images of no leaf": ("sourcing", ("--sourcing.source", "."), ("named as a leaf", "'a'")),
    "an unknown leaf": (
        "selection",
        ("--selection.held_out_leaves", '["b"]'),
        ("no such leaves: b", "held_out_leaves"),
    ),
    "no such prompts": ("questions", ("--questions.prompts", "v9"), ("no such set of prompts", "v1")),
    "a hub id that is not there": ("questions", ("--questions.writer", "gpt/4"), ("gpt/4", "openai/NAME")),
    "vLLM": ("questions", ("--questions.writer", "vllm/some/model"), ("vllm serve some/model", "openai/some/model@")),
    "no address": ("questions", ("--questions.writer", "openai/x@localhost"), ("no address", "localhost")),
    "no server": ("questions", ("--questions.writer", "openai/x@http://127.0.0.1:9/v1"), ("127.0.0.1:9", "start the")),
    "no checkpoint": ("questions", ("--questions.writer", "hf/./nothing"), ("cannot load", "nothing", "config.json")),
}


@pytest.mark.parametrize(("stage", "words", "said"), NO_PIPELINE.values(), ids=NO_PIPELINE)
def test_what_stands_in_the_way_is_told_and_nothing_is_half_written(
    home: Path, stage: str, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    assert_told(spavl_here(home, "build", "my.toml", *words, "--until", "questions"), *said)
    assert_stopped_at(home / "runs" / "my", stage)


def test_a_server_that_answers_with_web_pages_is_told(home: Path) -> None:
    page = web.Response(text="<html>welcome</html>", content_type="text/html")
    with ChatServer(models=lambda: page) as server:
        done = spavl_here(home, "build", "my.toml", "--questions.writer", f"openai/x@{server.url}")
        assert_told(done, "web page", server.url, "/v1")
        assert not server.seen, "a question was sent to what is no model"
    assert_stopped_at(home / "runs" / "my", "questions")


def test_a_run_of_a_newer_spavl_is_left_as_it_is(home: Path) -> None:
    run = home / "runs" / "my"
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"format": 99, "spavl": "9.0", "versions": {}}))
    assert_told(spavl_here(home, "build", "my.toml"), "9.0", "upgrade", "--out")
    assert {path.name for path in run.iterdir()} <= {"run.json", ".lock"}


def test_a_run_that_another_process_is_at_is_left_to_it(home: Path) -> None:
    run = home / "runs" / "my"
    run.mkdir(parents=True)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_told(spavl_here(home, "build", "my.toml"), "another process", "runs/my", "--out")
    assert [path.name for path in run.iterdir()] == [".lock"]


def test_a_file_in_the_place_of_the_run_is_told(home: Path) -> None:
    assert_told(spavl_here(home, "build", "my.toml", "--out", "my.toml"), "my.toml", "--out")


def test_a_stage_that_this_pipeline_does_not_go_through_is_told(home: Path) -> None:
    assert_told(spavl_here(home, "build", "my.toml", "--until", "training"), "training")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_to_is_told(home: Path) -> None:
    (home / "closed").mkdir(mode=0o555)
    assert_told(spavl_here(home, "build", "my.toml", "--out", "closed/run"), "cannot be written", "closed/run", "--out")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, full after some hundred images."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a disk of its own")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_same_command_goes_on(home: Path, small_disk: Path) -> None:
    words = ("build", "my.toml", "--taxonomy.file", "spa-vl", "--out", str(small_disk / "run"), "--until", "selection")
    assert_told(ran(home, *words), "disk is full", "same command")
    assert_stopped_at(small_disk / "run", "downloads")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = ran(home, *words)
    assert done.returncode == 0, done.stderr
    assert (small_disk / "run" / "stages" / "selection.json").exists()


# --- new


def test_new_writes_settings_that_build_takes(home: Path) -> None:
    assert spavl_here(home, "new", "mine.toml").returncode == 0
    done = spavl_here(home, "build", "mine.toml", "--until", "taxonomy")
    assert done.returncode == 0, done.stderr
    assert "53 rows" in done.stderr


def test_what_is_printed_as_next_goes_on_with_all_that_was_typed(home: Path) -> None:
    words = ("build", "my.toml", "--limit", "2", "--until", "selection", "--budget", "3usd")
    done = spavl_here(home, *words)
    assert done.returncode == 0, done.stderr
    again = shlex.split(done.stdout.splitlines()[-1].removeprefix("next:"))
    assert again == ["spavl", "build", "my.toml", "--out", "runs/my", "--budget=3usd", "--limit=2"]
    assert spavl_here(home, *again[1:], "--dry-run").returncode == 0


def test_new_never_writes_over_a_file(home: Path) -> None:
    assert_told(spavl_here(home, "new", "my.toml"), "exists already", "my.toml")
    assert (home / "my.toml").read_text() == SETTINGS


def test_new_tells_where_it_cannot_write(home: Path) -> None:
    assert_told(spavl_here(home, "new", "no/such/my.toml"), "cannot write", "no/such/my.toml")


# --- stopping and going on


@pytest.mark.parametrize(
    ("sent", "in_flight"),
    [
        (signal.SIGINT, "2"),
        pytest.param(signal.SIGINT, "64", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, "64", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, "64", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_tells_how_to_go_on_and_asks_nothing_twice(
    home: Path, sent: signal.Signals, in_flight: str
) -> None:
    # So slow that the signal comes before the last answer, on a busy machine too.
    seconds = 0.1 if in_flight == "2" else 1.0

    async def slow(body: Body) -> str:
        await asyncio.sleep(seconds if body["model"] in responders else 0)
        return echo(body)

    responders = "abcdefgh"
    asked = len(responders) * 3 * 2 * 3  # images, their twins, kinds of questions
    with ChatServer(slow) as server:
        pool = [f"openai/{name}@{server.url}" for name in responders]
        words = ["build", "my.toml", "--until", "responses", "--questions.writer", f"openai/writer@{server.url}"]
        words += ["--responses.models", json.dumps(pool), "--pace.at_once", "8", "--in_flight", in_flight]
        # Where the tests run in the background or under nohup, Ctrl-C or SIGHUP are ignored by all that they start.
        start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        start += f"signal.signal(signal.SIGHUP, signal.SIG_DFL); {START}"
        process = Forked(start, *words, cwd=home)
        deadline = time.monotonic() + 60
        while answers_of(server, responders) < 32 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, sent)
        code, said = process.wait(30), process.stderr
        assert code == 130, said
        assert "Traceback" not in said
        assert 32 <= answers_of(server, responders) < asked
        assert not (home / "runs" / "my" / "stages" / "responses.json").exists()

        again = shlex.split(said.splitlines()[-1])
        assert again == ["spavl", *words]
        done = spavl_here(home, *again[1:])
        assert done.returncode == 0, done.stderr
        assert answers_of(server, responders) == asked
        assert set(server.answered.values()) == {1}


def answers_of(server: ChatServer, models: str) -> int:
    bodies = list(server.bodies.values())
    return sum(server.answered[body_hash(body)] for body in bodies if body["model"] in models)
