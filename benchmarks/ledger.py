"""How fast calls become durable: the ledger against the bare database under it.

The ledger gets its calls from 256 coroutines and commits them in groups; its peer is what one
would write by hand, one commit a row. Both keep a call through a power cut (WAL, synchronous=FULL).
A round is a fixed time, not a fixed number of rows, since their speeds lie so far apart; the rows
that both have written are compared.
"""

import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from dataclasses import astuple, fields
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from spavl.store import Call, Ledger

_ROUNDS = 9
_CALLERS = 256
_SECONDS = 0.7
_NAMES = [field.name for field in fields(Call)]


class Written(NamedTuple):
    """What one side did in a round."""

    seconds: float
    rows: int
    path: Path

    def first(self, rows: int) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(self.path)
        found = database.execute(f"SELECT {', '.join(_NAMES)} FROM calls ORDER BY key LIMIT {rows}").fetchall()
        database.close()
        return found


def _call(n: int) -> Call:
    return Call(
        key=f"{n:064x}",
        model="openai/model",
        request=json.dumps({"messages": [["user", "what is in this image? " * 8, ["0" * 64]]]}),
        status="ok",
        text="an answer of the usual length " * 16,
        detail="",
        tokens_in=700,
        tokens_out=120,
        usd=0.003,
        seconds=1.5,
        at=1.7e9,
        stage="responses",
    )


def by_ledger(folder: Path, seconds: float) -> Written:
    """Count a call only once its caller has been told that it is on disk."""
    ledger, numbers, rows = Ledger(folder), count(), 0

    async def caller(end: float) -> None:
        nonlocal rows
        while time.perf_counter() < end:
            await ledger.put(_call(next(numbers)))
            rows += 1

    async def all_callers() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(caller(end) for _ in range(_CALLERS)))

    began = time.perf_counter()
    asyncio.run(all_callers())
    took = time.perf_counter() - began
    ledger.close()
    return Written(took, rows, folder / "calls.sqlite")


def by_hand(folder: Path, seconds: float) -> Written:
    path = folder / "bare.sqlite"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute(f"CREATE TABLE calls ({', '.join(_NAMES)}, PRIMARY KEY (key))")
    insert = f"INSERT INTO calls VALUES ({', '.join('?' * len(_NAMES))})"
    began, rows = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        database.execute(insert, astuple(_call(rows)))
        rows += 1
    took = time.perf_counter() - began
    database.close()
    return Written(took, rows, path)


def one_round(ledger_first: bool, seconds: float) -> tuple[Written, Written]:
    """Both sides, one after the other; whoever goes first may find a colder disk, so they take turns in that too."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if ledger_first:
            ours, peers = by_ledger(place, seconds), by_hand(place, seconds)
        else:
            peers, ours = by_hand(place, seconds), by_ledger(place, seconds)
        both = min(ours.rows, peers.rows)
        if ours.first(both) != peers.first(both):
            raise SystemExit("the ledger and its peer did not write the same rows")
        return ours, peers


def main() -> None:
    one_round(True, _SECONDS / 4)
    rounds = [one_round(number % 2 == 0, _SECONDS) for number in range(_ROUNDS)]
    ratios = [(peers.seconds / peers.rows) / (ours.seconds / ours.rows) for ours, peers in rounds]
    ours, peers = (
        sum(each[side].seconds for each in rounds) / sum(each[side].rows for each in rounds) for side in (0, 1)
    )
    told = {
        "name": "ledger_vs_bare_sqlite",
        "ratio": round(peers / ours, 2),
        "median": round(statistics.median(ratios), 2),
        "low": round(min(ratios), 2),
        "high": round(max(ratios), 2),
        "peer": f"sqlite3 {sqlite3.sqlite_version}, one commit a row, synchronous=FULL",
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
