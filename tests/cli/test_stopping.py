"""Work that is told to end: obeyed once, while answers that are paid come in; what is given up is accounted for."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.test_cli import START, answers_of, home
from tests.support.forked import Forked
from tests.support.servers import Body, ChatServer, echo

__all__ = ["home"]

RESPONDERS = "abcdefgh"
# Whoever started the tests in the background may have switched Ctrl-C off for all that follows.
BY_HAND = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {START}"
IN_BACKGROUND = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {START}"


class Stopped:
    """A build that is sent signals, each some seconds after the one before, while 64 answers are under way."""

    def __init__(self, folder: Path, sent: Sequence[tuple[float, signal.Signals]], start: str, seconds: float) -> None:
        async def slow(body: Body) -> str:
            if body["model"] in RESPONDERS:
                await asyncio.sleep(seconds)
            return echo(body)

        with ChatServer(slow) as server:
            pool = [f"openai/{name}@{server.url}" for name in RESPONDERS]
            words = ["build", "my.toml", "--until", "responses", "--questions.writer", f"openai/writer@{server.url}"]
            words += ["--responses.models", json.dumps(pool), "--pace.at_once", "8", "--in_flight", "64"]
            words += ["--prices", "{" + ", ".join(f"{name} = [1.0, 1.0]" for name in RESPONDERS) + "}"]
            process = Forked(start, *words, cwd=folder)
            deadline = time.monotonic() + 60
            while self.under_way(server) < 16 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            for wait, each in sent:
                time.sleep(wait)
                os.kill(process.pid, each)
            last = time.monotonic()
            self.code = process.wait(60)
            self.seconds = time.monotonic() - last
            self.said = process.stderr
            self.asked = self.under_way(server)
            self.answered = answers_of(server, RESPONDERS)
        with sqlite3.connect(folder / "runs" / "my" / "ledger" / "calls.sqlite") as ledger:
            names = [name.rpartition("/")[2].partition("@")[0] for (name,) in ledger.execute("SELECT model FROM calls")]
            self.kept = sum(name in RESPONDERS for name in names)
            (self.losses,) = ledger.execute("SELECT COUNT(*) FROM losses").fetchone()

    def under_way(self, server: ChatServer) -> int:
        return sum(body["model"] in RESPONDERS for body in list(server.bodies.values()))


INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([TERM, TERM], marks=pytest.mark.slow),
        pytest.param([HUP, TERM, INT], marks=pytest.mark.slow),
        [INT, INT],
        pytest.param([INT, TERM], marks=pytest.mark.slow),
    ],
    ids=lambda sent: "-".join(s.name for s in sent),
)
def test_a_second_signal_loses_no_answer(home: Path, sent: list[signal.Signals]) -> None:
    """A parent that passes signals on, and a service manager, send several: the second threw away what was paid."""
    stopped = Stopped(home, [(0.1, each) for each in sent], BY_HAND, 2.0)
    assert stopped.code == 130, stopped.said
    assert "Traceback" not in stopped.said
    assert (stopped.kept, stopped.losses) == (stopped.asked, 0)


@pytest.mark.slow
def test_a_job_in_the_background_that_is_ended_loses_no_answer(home: Path) -> None:
    """A script's `&` switches Ctrl-C off, by which the other signals were passed on."""
    stopped = Stopped(home, [(0.1, TERM)], IN_BACKGROUND, 2.0)
    assert stopped.code == 130, stopped.said
    assert (stopped.kept, stopped.losses) == (stopped.asked, 0)


def test_a_second_ctrl_c_some_time_later_is_obeyed_and_what_it_costs_is_written_down(home: Path) -> None:
    stopped = Stopped(home, [(0.1, INT), (2.5, INT)], BY_HAND, 30.0)
    assert stopped.seconds < 7, "answers are waited for ten seconds from the first on"
    assert stopped.code == 130, stopped.said
    assert stopped.asked > 0
    assert (stopped.kept, stopped.losses) == (0, stopped.asked)
