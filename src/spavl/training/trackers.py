"""Where else the curves of a training are sent while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.tracking import get_available_trackers

from spavl.errors import MissingExtra
from spavl.training.processes import new_accelerator


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
    if name not in (found.value for found in get_available_trackers()):
        package = {"tensorboard": "tensorboardX"}.get(name, name)
        then = f"pip install {package}, or leave training.loop.tracker empty"
        raise MissingExtra(f"{name} is not installed", where="training.loop.tracker", then=then)
    accelerator = new_accelerator(log_with=name, project_dir=folder / name)
    accelerator.init_trackers(project, dict(settings))
    try:
        yield Trackers(accelerator)
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
