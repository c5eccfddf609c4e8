"""Runs a study: each cell that is not done, once, in whichever process comes first; then its results."""

import asyncio
import gc
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from spavl.config import write_config
from spavl.errors import ConfigError, RunInUse, SpavlError
from spavl.store.files import write_text
from spavl.studies.cells import Cell, cells_of, left_out
from spavl.studies.checks import check_study
from spavl.studies.collect import collect_results
from spavl.studies.config import StudyConfig
from spavl.studies.data import LOOK_AGAIN, data_by_name, open_data
from spavl.studies.report.page import render_study
from spavl.studies.results import StudyResults, write_results
from spavl.studies.train_cell import StudyPlace, is_done, run_cell, write_failure
from spavl.terminal.progress import ProgressBar, Screen


async def run_study(name: str, config: StudyConfig, out: Path, screen: Screen, only: str = "") -> StudyResults:
    """Run what is left of a study and return its results. `only` is the id of a single cell, for a job of a cluster."""
    with open_data(data_by_name(config.data), out / "data", screen) as data:
        for line in left_out(config, data):
            screen.say(f"warning: {line}")
        place, cells = StudyPlace(out, config, data), cells_of(config, data)
        asked = [cell for cell in cells if only in ("", cell.id)]
        if not asked:
            then = "list the cells with --dry-run"
            raise ConfigError(f"no cell of this study has the id {only!r}", where="--cell", then=then)
        await check_study(place)
        write_text(out / "study.toml", write_config(config))
        await _run_cells(place, asked, screen)
        results = collect_results(name, place, cells)
        write_results(out, results)
        write_text(out / "report.html", render_study(results))
        return results


def list_cells(config: StudyConfig, out: Path, screen: Screen) -> list[tuple[Cell, bool]]:
    """The cells, and whether each is done. The data set is imported if it is not a run."""
    with open_data(data_by_name(config.data), out / "data", screen) as data:
        place = StudyPlace(out, config, data)
        return [(cell, is_done(place, cell)) for cell in cells_of(config, data)]


async def _run_cells(place: StudyPlace, cells: Sequence[Cell], screen: Screen) -> None:
    """Try every cell once. One that another process runs is waited for, and then found done."""
    left = list(cells)
    title = f"spavl study  {place.folder}"
    with screen.table(title, ["cells"]), screen.bar("cells", len(cells), unit="cells") as bar:
        while left:
            held = [cell for cell in left if not await _try_cell(place, cell, screen, bar)]
            if held and len(held) == len(left):
                bar.tell(f"waits for another process, which runs {held[0].title}")
                await asyncio.sleep(LOOK_AGAIN)
            left = held


async def _try_cell(place: StudyPlace, cell: Cell, screen: Screen, bar: ProgressBar) -> bool:
    """Run a cell; returns False if another process runs it. A failure is kept in its folder and ends no other cell."""
    bar.tell(cell.title)
    began = time.monotonic()
    try:
        await run_cell(place, cell, screen)
    except RunInUse:
        return False
    except SpavlError as error:
        _report_failure(place, cell, str(error), error.what, screen)
    except Exception as error:
        _report_failure(place, cell, traceback.format_exc(), repr(error), screen)
    else:
        if not screen.is_live:
            screen.say(f"{cell.title:<44} done  ({time.monotonic() - began:.1f} s)")
    bar.advance(cell.title)
    gc.collect()  # the weights of a cell are in reference cycles, and the next cell needs their memory
    return True


def _report_failure(place: StudyPlace, cell: Cell, why: str, short: str, screen: Screen) -> None:
    write_failure(place, cell, why)
    screen.say(f"{cell.title}: failed: {short}")
