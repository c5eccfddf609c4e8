"""Runs a study: each cell that is not done, once, in whichever process comes first; then its results."""

import asyncio
import contextlib
import fcntl
import gc
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from spavl.config import write_config
from spavl.errors import ConfigError, RunInUse, SpavlError
from spavl.store.files import disk_faults, make_folder, write_text
from spavl.studies.checks import check_study
from spavl.studies.collect import collect_results
from spavl.studies.config import StudyConfig
from spavl.studies.data import LOOK_AGAIN, data_by_name, open_data
from spavl.studies.grid.arms import grid_of
from spavl.studies.grid.cells import Cell, cells_of, cells_of_arms, cells_to_run
from spavl.studies.helpers import cells_at_once, open_helpers, stop_with_parent
from spavl.studies.report.markdown import markdown
from spavl.studies.report.page import render_study
from spavl.studies.results import StudyResults, study_in, write_results
from spavl.studies.train_cell import (
    StudyPlace,
    failed_since,
    failure_line,
    failure_of,
    is_done,
    run_cell,
    write_failure,
)
from spavl.terminal.progress import ProgressBar, Screen


async def run_study(name: str, config: StudyConfig, out: Path, screen: Screen, only: str = "") -> StudyResults:
    """Run what is left of a study and return its results. `only` is the id of a single cell, for a job of a cluster."""
    make_folder(out)
    with open_data(data_by_name(config.data), out, screen) as data:
        grid = grid_of(config, data)
        for line in (*_another_study(name, out), *grid.warnings):
            screen.say(f"warning: {line}")
        place, cells = StudyPlace(out, config, data), cells_of_arms(grid.arms, config.seeds, data)
        asked = [cell for cell in cells_to_run(cells) if only in ("", cell.id)]
        if not asked:
            then = "list the cells with --dry-run"
            raise ConfigError(f"no cell of this study has the id {only!r}", where="--cell", then=then)
        await check_study(place)
        began = _write_settings(config, out / "study.toml")
        left = [cell for cell in asked if not is_done(place, cell)]
        count = 1 if only else cells_at_once(config.at_once, left)
        with screen.table(f"spavl study  {out}", ["cells"]), screen.bar("cells", len(asked), unit="cells") as bar:
            await (
                _run_cells(place, asked, began, screen, bar)
                if count == 1
                else _watch_cells(place, asked, began, count, screen, bar)
            )
        with disk_faults(out), _only_writer(out):
            results = collect_results(name, place, cells)
            write_results(out, results)
            write_text(out / "table.md", markdown(results))
            write_text(out / "report.html", render_study(results))
        return results


def _write_settings(config: StudyConfig, file: Path) -> float:
    """Returns the time of the file: the begin of this run by the clock that the times of failures have too."""
    with disk_faults(file.parent):
        # Without defaults, which would count as settings of the study and win over its preset.
        write_text(file, write_config(config, only_set=True))
        return file.stat().st_mtime


@contextlib.contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    """Jobs that end at the same time write one after the other, so that the last one has read the cells of all."""
    with (out / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _another_study(name: str, out: Path) -> Iterator[str]:
    """Studies may share a folder, and so their cells; its table and its page are those of the last one."""
    before = study_in(out)
    if before not in ("", name):
        yield f"the table and the page of the study {before!r} in this folder are replaced; its cells are kept"


async def help_study(config: StudyConfig, out: Path, began: float, screen: Screen) -> None:
    """Run cells of a study that another process has begun at this time, and that makes the results."""
    stop_with_parent()
    with open_data(data_by_name(config.data), out, screen) as data:
        place = StudyPlace(out, config, data)
        cells = cells_to_run(cells_of(config, data))
        with screen.bar("cells", len(cells), unit="cells") as bar:
            await _run_cells(place, cells, began, screen, bar)


async def list_cells(config: StudyConfig, out: Path, screen: Screen) -> list[tuple[Cell, bool]]:
    """The cells, and whether each is done, of a study that can be run. The data set is imported if it is not a run."""
    with open_data(data_by_name(config.data), out, screen) as data:
        place = StudyPlace(out, config, data)
        cells = cells_to_run(cells_of(config, data))
        await check_study(place)
        return [(cell, is_done(place, cell)) for cell in cells]


async def _watch_cells(
    place: StudyPlace, cells: Sequence[Cell], began: float, count: int, screen: Screen, bar: ProgressBar
) -> None:
    """Have helpers run the cells, and tell of each that ends. What a helper that broke down leaves is run here."""
    left = list(cells)
    with open_helpers(place.folder, count, began) as helpers:
        is_over = False
        bar.tell(f"{count} at once; logs in {place.folder / 'helpers'}")
        while left and not is_over:
            # Looked at once more after the last helper has ended.
            is_over = all(helper.poll() is not None for helper in helpers)
            for cell in [cell for cell in left if _has_ended(place, cell, began)]:
                left.remove(cell)
                _tell_of(place, cell, screen)
                bar.advance(cell.title)
            if not is_over:
                await asyncio.sleep(LOOK_AGAIN / 2)
        if crashed := sum(bool(helper.poll()) for helper in helpers):
            screen.say(f"warning: {crashed} of {count} processes broke down; the other cells are run without them")
    await _run_cells(place, left, began, screen, bar)


def _has_ended(place: StudyPlace, cell: Cell, began: float) -> bool:
    return failed_since(place, cell, began) or is_done(place, cell)


def _tell_of(place: StudyPlace, cell: Cell, screen: Screen) -> None:
    if not is_done(place, cell):
        screen.say(f"{cell.title}: failed: {failure_line(failure_of(place, cell))}")
    elif not screen.is_live:
        screen.say(f"{cell.title:<44} done")


async def _run_cells(place: StudyPlace, cells: Sequence[Cell], began: float, screen: Screen, bar: ProgressBar) -> None:
    """Try every cell once that has not failed since this time. One that another process runs is waited for."""
    left = list(cells)
    while left:
        held = []
        for cell in left:
            bar.tell(cell.title)
            if await _try_cell(place, cell, screen, began):
                bar.advance(cell.title)
            else:
                held.append(cell)
        if held and len(held) == len(left):
            bar.tell(f"waits for another process, which runs {held[0].title}")
            await asyncio.sleep(LOOK_AGAIN)
        left = held


async def _try_cell(place: StudyPlace, cell: Cell, screen: Screen, began: float) -> bool:
    """Run a cell; returns False if another process runs it. A failure is kept in its folder and ends no other cell."""
    # One that failed in another process meanwhile would fail again.
    if is_done(place, cell) or failed_since(place, cell, began):
        return True
    if cell.parent is not None:
        if not await _try_cell(place, cell.parent, screen, began):
            return False
        if not is_done(place, cell.parent):
            why = f"the cell that it goes on with has failed: {cell.parent.title}"
            _report_failure(place, cell, why, why, screen)
            return True
    started = time.monotonic()
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
            screen.say(f"{cell.title:<44} done  ({time.monotonic() - started:.1f} s)")
    gc.collect()  # the weights of a cell are in reference cycles, and the next cell needs their memory
    return True


def _report_failure(place: StudyPlace, cell: Cell, why: str, short: str, screen: Screen) -> None:
    write_failure(place, cell, why)
    screen.say(f"{cell.title}: failed: {short}")
