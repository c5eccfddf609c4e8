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

from spavl.terminal.live_table import LiveTable, ServerStatus, Spending
from spavl.terminal.progress import Screen

_SHOW, _HIDE = b"\x1b[?25h", b"\x1b[?25l"


def drawn(table: LiveTable, width: int = 130) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_table_tells_stages_servers_and_money() -> None:
    server = ServerStatus("api.example", in_flight=7, at_once=48, answered=1200, throttled=3, failed=5)
    table = LiveTable("spavl build", ["images", "questions", "pairs"], lambda: ([server], Spending(4.5, 9.25, 8.0)))
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


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_note_takes_no_room_from_steps_and_time(width: int) -> None:
    server = ServerStatus("openai/Qwen/Qwen3-VL-8B@http://10.0.0.3:8000/v1", 7, 48, 1200, 3, 5)
    table = LiveTable("spavl build", ["captions", "verdicts", "training"], lambda: ([server], Spending(0, None, None)))
    verdicts, training = table.row("verdicts"), table.row("training")
    verdicts.begin(2_459_730, 1_459_730, "rows")
    verdicts.rejected = 12_345
    training.begin(1200, 300, "steps")
    training.note = "loss 0.5213  accuracy 0.81  margin 1.22  42.1 pairs/s, 13,250 tokens/s, 38 % of the peak, 61 GB"
    for row in (verdicts, training):
        row.seen[0] = (row.seen[0][0] - 100, row.done - 100)
    lines = drawn(table, width).splitlines()
    (steps,) = [line for line in lines if "300/1,200" in line]
    assert "training" in steps and "1.0 steps/s" in steps and "15:00 left" in steps
    assert any("1,459,730/2,459,730" in line and "1.0 rows/s" in line and " left" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    for told in (training.note, "12,345 rejected", "3 × 429", "2 other faults", "7 of 48 in flight"):
        assert " ".join(told.split()) in text
    assert "…" not in text and max(map(len, lines)) <= width


def test_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    with screen.table("spavl build", ["images"]), screen.bar("images", 2) as bar:
        bar.advance()
    screen.report_finished("images", 2, 1, "0.1 s")
    said = capsys.readouterr().err
    assert said == "images             2 rows, 1 rejected  (0.1 s)\n"


def test_a_stop_gives_the_terminal_back(tmp_path: Path) -> None:
    code = (
        # Whoever started the tests in the background may have switched Ctrl-C off for all that follows.
        "import signal, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from spavl.terminal.progress import Screen\nscreen = Screen()\n"
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
