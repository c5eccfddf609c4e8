"""Where else the curves of a training are sent while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spavl.training.loop.distributed import check_tracker, new_accelerator


class Trackers:
    """Those of accelerate that were asked for; none is as good."""

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator

    def log(self, figures: Mapping[str, float], step: int) -> None:
        if self._accelerator is not None:
            self._accelerator.log(figures, step=step)


@contextmanager
def tracking(name: str, project: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Trackers]:
    """However the training ends, what was sent is sent whole."""
    if not name:
        yield Trackers()
        return
    check_tracker(name)
    accelerator = new_accelerator(log_with=name, project_dir=folder / name)
    accelerator.init_trackers(project, dict(settings))
    try:
        yield Trackers(accelerator)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
