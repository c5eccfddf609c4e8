"""What strangers wrote reaches a terminal as letters alone: no clipboard is filled, no line forged, no cursor moved."""

import asyncio
import io
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.tree import Tree

from spavl.errors import ConfigError, SpavlError
from spavl.models.backends.openai import OpenAIModel
from spavl.models.types import RequestRejected, Transient, ask_about
from spavl.text.safe_console import SafeConsole
from spavl.text.safe_print import FORGING, line, tell
from tests.support.command_line import spavl_here
from tests.support.servers import ChatServer, fault

OSC_52 = "\x1b]52;c;bWFkZSB1cA==\x07"
EVIL = f"a{OSC_52}b\x9b2Jc\rspavl: forged\nspavl: forged too\x1b[2K\u202ed\u2028spavl: three\x08\x7f"
FORGED = re.compile(r"(?m)(?:^|\r)spavl: (?:forged|three)")


def harmless(told: str) -> bool:
    return not FORGING.search(told.replace("\r\n", "\n")) and not FORGED.search(told)


def test_a_line_is_one_line_of_signs_that_do_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    tell(EVIL, "second")
    told = capsys.readouterr().out
    assert harmless(told) and told.count("\n") == 2 and "spavl: forged too" in told


@given(st.text(st.characters(codec=None)))
def test_any_text_is_one_line(text: str) -> None:
    shown = line(text)
    assert len(shown.splitlines()) <= 1 and not FORGING.search(shown)
    assert line(shown) == shown


def test_what_rich_draws_holds_no_mark_but_those_of_rich() -> None:
    table, tree = Table(EVIL), Tree(EVIL)
    table.add_row(EVIL)
    tree.add(EVIL)
    for markup in (False, True):
        console = SafeConsole(file=io.StringIO(), force_terminal=True, color_system=None, width=60)
        for drawn in (table, tree, EVIL):
            console.print(drawn, markup=markup)
        assert not FORGING.search(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [("show", "evil.toml", "--terms"), ("check", "evil.toml")])
def test_a_taxonomy_says_nothing_to_a_terminal_but_letters(tmp_path: Path, words: tuple[str, ...]) -> None:
    spelled = "".join(f"\\u{ord(sign):04x}" for sign in EVIL)
    (tmp_path / "evil.toml").write_text(
        f'name = "t"\nversion = 1\nnote = "{spelled}"\n[[domain]]\nname = "d"\n[[domain.group]]\nname = "g"\n'
        f'leaves = [{{ name = "one", definition = "{spelled}", terms = ["{spelled}"] }}, '
        f'{{ name = "two", published = "{spelled}", terms = ["{spelled}"] }}]\n'
    )
    done = spavl_here(tmp_path, "taxonomy", *words)
    assert done.returncode == 0
    assert harmless(done.stdout + done.stderr)
    bad = tmp_path / "evil.toml"
    bad.write_text(bad.read_text().replace('"one"', f'"{spelled}"'))
    done = spavl_here(tmp_path, "taxonomy", *words)
    assert done.returncode == 2
    assert harmless(done.stdout + done.stderr)


def test_names_of_files_and_settings_say_nothing_but_letters(tmp_path: Path) -> None:
    name = EVIL.replace("/", "")
    (tmp_path / name).write_text(f'"{"".join(f"{chr(92)}u{ord(sign):04x}" for sign in EVIL)}" = 1\n')
    for words in (
        ("build", name),
        ("taxonomy", "check", name),
        ("new", name),
        ("eval", name),
        ("data", "push", name, "x"),
    ):
        done = spavl_here(tmp_path, *words)
        assert done.returncode == 2 and harmless(done.stdout + done.stderr), words
    (tmp_path / f"{name}.toml").write_text("x = [\n")
    done = spavl_here(tmp_path, "build", f"{name}.toml")
    assert done.returncode == 2 and harmless(done.stderr)
    done = spavl_here(tmp_path, "eval", "miniature/base", name)
    assert done.returncode == 2 and harmless(done.stderr)


def test_an_error_can_name_what_it_likes_and_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    from spavl.cli.main import _exit_code

    def work() -> None:
        raise ConfigError(EVIL, where=EVIL, then=f"one\n  two {EVIL}")

    assert _exit_code(work, ["build"]) == 2
    told = capsys.readouterr().err
    assert harmless(told) and told.count("\nspavl:") == 0 and told.startswith("spavl: ")

    def fail() -> None:
        raise ValueError(EVIL)

    assert _exit_code(fail, ["build", EVIL]) == 1
    assert harmless(capsys.readouterr().err)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
def test_what_a_server_says_is_one_line(status: int) -> None:
    async def asked(url: str) -> str:
        model = OpenAIModel("m", url)
        try:
            await model.ask(ask_about(None, "What is this?"))
        except (SpavlError, Transient, RequestRejected) as error:
            return error.what if isinstance(error, SpavlError) else str(error)
        finally:
            await model.close()
        raise AssertionError

    for body in (fault(status, EVIL), None):
        with ChatServer(lambda _, said=body: said or fault(status, EVIL)) as server:  # type: ignore[misc]
            told = asyncio.run(asked(server.url))
        assert harmless(told) and len(told.splitlines()) == 1, told


def test_the_live_table_passes_nothing_on(tmp_path: Path) -> None:
    """On a true terminal, where rich itself moves the cursor."""
    code = (
        "import sys, time\nfrom spavl.terminal.progress import Screen\n"
        "from spavl.terminal.live_table import ServerStatus, Spending\n"
        "evil = sys.argv[1]\nscreen = Screen()\nserver = ServerStatus(evil, 1, 1, 1, 0, 0)\n"
        "with screen.table(evil, [evil, 'two'], lambda: ([server], Spending(1.0, None, None))):\n"
        "    with screen.bar(evil, 3, unit=evil) as bar:\n"
        "        bar.advance(evil)\n        bar.tell(evil)\n        screen.say(evil)\n        time.sleep(0.6)\n"
        "    screen.report_finished(evil, 1, 0, evil)\nscreen.say(evil)\n"
    )
    ours, theirs = pty.openpty()
    shown = bytearray()

    def read() -> None:
        try:
            while part := os.read(ours, 2**16):
                shown.extend(part)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    evil = EVIL.replace("\x00", "")
    done = subprocess.run(
        [sys.executable, "-c", code, evil],
        stderr=theirs,
        stdout=theirs,
        env={**os.environ, "TERM": "xterm"},
        check=False,
    )
    os.close(theirs)
    reader.join(10)
    told = bytes(shown).decode(errors="replace")
    assert done.returncode == 0, told
    # rich moves the cursor, erases lines and sets colours; it writes to no clipboard and turns no text.
    assert "\x1b[" in told and "two" in told
    assert not re.search("\x1b[^\\[]|[\x07\x08\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028]|\x1b\\[2Jc", told)
    assert not FORGED.search(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", told.replace("\r\n", "\n")))
