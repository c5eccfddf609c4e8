"""The live table: what it shows, and that a terminal is left as it was found."""

import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from spavl.live import LiveTable, Money, Server
from spavl.progress import Screen

_SHOW, _HIDE = b"\x1b[?25h", b"\x1b[?25l"


def drawn(table: LiveTable) -> str:
    console = Console(file=io.StringIO(), width=130, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_table_tells_stages_servers_and_money() -> None:
    server = Server("api.example", in_flight=7, at_once=48, answered=1200, throttled=3, failed=5)
    table = LiveTable("spavl build", ["images", "questions", "pairs"], lambda: ([server], Money(4.5, 9.25, 8.0)))
    over, running = table.row("images"), table.row("questions")
    over.begin(10, 0, "rows")
    over.done, over.over = 1431, "12.0 s"
    running.begin(200, 0, "rows")
    for _ in range(50):
        running.advance("", rejected=1)
    table.row("inside").begin(5, 0, "batches")
    text = drawn(table)
    for shown in ("1,431", "12.0 s", "50/200", "50 rejected", "inside", "7 of 48 in flight", "3 × 429", "2 other"):
        assert shown in text
    assert "4.50 USD spent, about 9.25 at the end, never more than 8.00" in text


def test_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    with screen.table("spavl build", ["images"]), screen.bar("images", 2) as bar:
        bar.advance()
    screen.finished("images", 2, 1, "0.1 s")
    said = capsys.readouterr().err
    assert said == "images             2 rows, 1 rejected  (0.1 s)\n"


def test_a_stop_gives_the_terminal_back(tmp_path: Path) -> None:
    code = (
        # Whoever started the tests in the background may have switched Ctrl-C off for all that follows.
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from spavl.progress import Screen\nscreen = Screen()\n"
        "with screen.table('a run', ['one', 'two']), screen.bar('one', 100) as bar:\n"
        "    while True:\n        bar.advance()\n        time.sleep(0.01)\n"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    )
    os.close(theirs)
    seen, stopped = b"", False
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        seen += part
        if not stopped and b"one" in seen:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            stopped = True
        if not part:
            break
    process.wait(10)
    assert seen.rfind(_SHOW) > seen.rfind(_HIDE) >= 0
