"""Job files of a study for a cluster: one job for each cell that is not done. They are written, and not submitted.

A job may be stopped and requeued at any time: its training goes on from the last step that it has saved.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from spavl.errors import ConfigError
from spavl.store.files import disk_faults, make_folder, write_text
from spavl.studies.grid.cells import Cell

Cluster = Literal["slurm", "skypilot"]
# A job has so many seconds to save a step before it is ended.
_NOTICE = 120
# SkyPilot makes names of machines of it, which have at most 63 letters with the id of the cell.
_LONGEST_NAME = 30


def write_jobs(cluster: Cluster, folder: Path, name: str, command: Sequence[str], cells: Sequence[Cell]) -> list[Path]:
    """The files that were written. `command` runs the study; each job adds the id of its cell."""
    jobs = folder / "jobs"
    make_folder(jobs)
    with disk_faults(jobs):
        return _WRITERS[cluster](jobs, _plain(name), command, cells)


def _plain(name: str) -> str:
    """The letters and digits of a name that both clusters take."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_NAME].strip("-") or "study"


def _slurm(folder: Path, name: str, command: Sequence[str], cells: Sequence[Cell]) -> list[Path]:
    """One array job, since schedulers take an array as a whole; task k runs the k-th cell."""
    ids = " ".join(cell.id for cell in cells)
    where = str(folder.absolute())
    if "\\" in where or "\n" in where:
        # An option is one line, in which a backslash escapes even between quotes.
        then = "choose another folder with --out"
        raise ConfigError("Slurm takes no path with a backslash or a line break", where=where, then=then)
    # A percent sign begins a number of the job.
    logs = f"{where.replace('%', '%%')}/%A_%a.log"
    text = f"""#!/bin/bash
#SBATCH --job-name=spavl-{name}
#SBATCH --array=0-{len(cells) - 1}
#SBATCH --requeue
#SBATCH --signal=TERM@{_NOTICE}
#SBATCH --open-mode=append
#SBATCH --output={shlex.quote(logs)}
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=24:00:00
set -eu
cells=({ids})
cd {shlex.quote(str(Path.cwd()))}
exec srun {shlex.join(command)} --cell "${{cells[$SLURM_ARRAY_TASK_ID]}}"
"""
    file = folder / "study.sbatch"
    write_text(file, text)
    return [file]


def _skypilot(folder: Path, name: str, command: Sequence[str], cells: Sequence[Cell]) -> list[Path]:
    """One managed job for each cell. JSON is YAML, and needs no library to be written."""
    files = []
    for cell in cells:
        task = {
            "name": f"spavl-{name}-{cell.id}",
            "resources": {"accelerators": "H100:1", "use_spot": True, "job_recovery": "FAILOVER"},
            "workdir": str(Path.cwd()),
            "setup": "pip install 'spavl[hf]'",
            "run": f"{shlex.join(command)} --cell {cell.id}\n",
        }
        file = folder / f"{cell.id}.sky.yaml"
        write_text(file, json.dumps(task, indent=2, ensure_ascii=False) + "\n")
        files.append(file)
    return files


_WRITERS: Mapping[Cluster, Callable[[Path, str, Sequence[str], Sequence[Cell]], list[Path]]] = {
    "slurm": _slurm,
    "skypilot": _skypilot,
}
