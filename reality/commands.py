"""Runs spavl as users do: a process a command, in one folder, with what it says in a log file."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.repository import ROOT

from reality import packages

_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, packages.FOLDER)))}


class CommandFailed(Exception):
    """A command ended with an error; its log says which."""


class Commands:
    """The commands of one run of `make reality`. Each is shown as it would be typed, and its seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "logs").mkdir(parents=True, exist_ok=True)

    def spavl(self, name: str, *words: str | Path) -> str:
        return self.run(name, sys.executable, "-m", "spavl", *words)

    def stopped(self, name: str, *words: str | Path) -> str:
        """Why a command of spavl stopped; empty if it did its work."""
        try:
            self.spavl(name, *words)
        except CommandFailed:
            said = (self.folder / "logs" / f"{name}.log").read_text()
            return said[said.rfind("spavl: ") :].strip()
        return ""

    def run(self, name: str, *words: str | Path) -> str:
        """What the command wrote to standard output."""
        typed = [str(word) for word in words]
        print(f"{name}: {' '.join(_shown(typed))}", flush=True)
        log, began = self.folder / "logs" / f"{name}.log", time.monotonic()
        with log.open("w") as errors:
            done = subprocess.run(
                typed, cwd=self.folder, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=errors, text=True, check=False
            )
        with log.open("a") as both:
            both.write(done.stdout)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        if done.returncode:
            last = "\n".join(log.read_text().splitlines()[-12:])
            raise CommandFailed(f"{name} ended with {done.returncode}; the end of {log}:\n{last}")
        return done.stdout


def _shown(words: list[str]) -> list[str]:
    return ["spavl", *words[3:]] if words[1:3] == ["-m", "spavl"] else ["python", *words[1:]]
