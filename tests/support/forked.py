"""Processes that begin with torch and spavl loaded: forks of one server, which has imported them once.

What is tested in a process of its own to be killed or sent signals need not pay for its imports, some six seconds each
time. What concerns the start of a process (its environment, its first imports) is tested in one that Python starts.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

SPAVL = "from spavl.cli.main import main; import sys; sys.exit(main())"
NO_MORE = MappingProxyType[str, str]({})

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["spavl.cli.main", "spavl.pipeline.build", "spavl.training.run"])


class Forked:
    """`python -c CODE WORDS...`, by the names of subprocess.Popen; what it writes can be read while it runs."""

    def __init__(
        self, code: str, *words: str, cwd: Path | None = None, typed: str = "", more: Mapping[str, str] = NO_MORE
    ) -> None:
        """`more` are variables of its environment, besides those of the tests."""
        self._folder = tempfile.TemporaryDirectory()
        streams = Path(self._folder.name)
        (streams / "0").write_text(typed)
        (streams / "1").touch()
        (streams / "2").touch()
        given = (code, words, {**os.environ, **more}, cwd or Path.cwd(), streams, [*sys.path])
        self._process = _CONTEXT.Process(target=_begin, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid, self._streams = self._process.pid, streams

    @property
    def stdout(self) -> str:
        return (self._streams / "1").read_text()

    @property
    def stderr(self) -> str:
        return (self._streams / "2").read_text()

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code


def ran(folder: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """`spavl WORDS...` in a folder, to its end."""
    process = Forked(SPAVL, *words, cwd=folder, typed=typed)
    try:
        code = process.wait(240)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, code, process.stdout, process.stderr)


def _begin(
    code: str, words: tuple[str, ...], environ: Mapping[str, str], cwd: Path, streams: Path, path: list[str]
) -> NoReturn:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(cwd)
    sys.path[:] = path
    sys.argv = ["-c", *words]
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_APPEND)):
        file = os.open(streams / str(number), flags)
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    exec(compile(code, "<forked>", "exec"), {"__name__": "__main__"})
    sys.exit(0)
