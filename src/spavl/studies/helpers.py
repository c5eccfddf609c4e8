"""Several processes on one study: helpers that run its cells at the same time, each on a GPU or cores of its own.

A helper is the command itself with `--helper`. It stops when its input ends, so that none outlives the process that
started it, however that one ends.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from spavl.engine.driver import cores
from spavl.models.factory import checkpoint_path
from spavl.studies.grid.cells import Cell

Helper = subprocess.Popen[bytes]

# What a cell takes of the main memory: its weights so many times, for gradients, moments and activations, and the
# libraries.
_TIMES_WEIGHTS, _LIBRARIES = 8, 2 * 1024**3
_USED_MEMORY = 0.8
# On CPU cores a helper must have so many cells to run, since it takes as long as a small cell to begin.
_WORTH_A_HELPER = 4
# Seconds in which a helper must have saved its step.
_NOTICE = 60


def cells_at_once(asked: int, cells: Sequence[Cell]) -> int:
    """How many of these cells are run at once. If 0 is asked for, one on each GPU, or as memory and cores allow."""
    parents = {cell.parent.id for cell in cells if cell.parent is not None}
    # A cell and the one that goes on with it are never run at once.
    most = max(1, sum(cell.id not in parents for cell in cells))
    if asked or not cells:
        return min(asked or 1, most)
    if gpus := _gpus():
        return min(len(gpus), most)
    fitting = int(_USED_MEMORY * _free_memory() / max(map(_bytes_of, cells)))
    return max(1, min(cores(), fitting, most, len(cells) // _WORTH_A_HELPER))


@contextlib.contextmanager
def open_helpers(out: Path, count: int, began: float) -> Iterator[Sequence[Helper]]:
    """Helpers of the study in this folder. When the block ends, they save their steps and stop.

    They try no cell again that has failed since the study `began`.
    """
    started = [_start(out, began, number, _environment(number, count)) for number in range(count)]
    try:
        yield started
    finally:
        for helper in started:
            helper.send_signal(signal.SIGTERM)
        for helper in started:
            _end(helper)


def stop_with_parent() -> None:
    """In a helper: stop, as on a signal, when the input ends."""

    def watch() -> None:
        # Unbuffered: Python cannot end while a thread waits in a buffered read.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _start(out: Path, began: float, number: int, environment: Mapping[str, str]) -> Helper:
    log = out / "helpers" / f"{number + 1}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "spavl", "study", str(out / "study.toml"), "--out", str(out)]
    words += ["--helper", repr(began)]
    with log.open("ab") as file:
        # In a session of its own, so that a Ctrl-C reaches it only through the process that started it.
        return Helper(words, stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment, start_new_session=True)


def _environment(number: int, count: int) -> Mapping[str, str]:
    gpus, threads = _gpus(), os.environ.get("OMP_NUM_THREADS", "")
    own = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
    return {**os.environ, "OMP_NUM_THREADS": threads or str(max(1, cores() // count)), **own}


def _end(helper: Helper) -> None:
    try:
        helper.communicate(timeout=_NOTICE)
    except subprocess.TimeoutExpired:
        helper.kill()
        helper.communicate()


def _gpus() -> list[str]:
    """The GPUs, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # takes seconds to load

    named = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each]
    return (named or [str(number) for number in range(torch.cuda.device_count())]) if torch.cuda.is_available() else []


def _bytes_of(cell: Cell) -> int:
    folder = Path(checkpoint_path(cell.config.model))
    return _TIMES_WEIGHTS * sum(file.stat().st_size for file in folder.glob("*.safetensors")) + _LIBRARIES


def _free_memory() -> int:
    """The main memory that is free; 0, and so one cell at a time, where the system does not say it as Linux does."""
    said = Path("/proc/meminfo")
    for line in said.read_text(encoding="utf-8").splitlines() if said.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0
