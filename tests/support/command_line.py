"""`spavl` in the process of the tests, which has loaded torch and the like once: a process of its own loads them each
time, for seconds. What concerns the process itself (signals, start-up) is tested in one.
"""

import contextlib
import io
import subprocess
from pathlib import Path

from spavl.cli.main import main


def spavl_here(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command does in a folder: its exit status, and what it writes to both streams."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as ended:  # how argparse ends after --help
            status = ended.code if isinstance(ended.code, int) else 0
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())
