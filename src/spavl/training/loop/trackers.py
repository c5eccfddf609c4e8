"""Sends the metrics of a training to tensorboard, trackio or wandb while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spavl.training.loop.distributed import check_tracker, new_accelerator


class Trackers:
    """The tracker of accelerate that the settings name, or none."""

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        if self._accelerator is not None:
            self._accelerator.log(metrics, step=step)


@contextmanager
def tracking(name: str, project: str, folder: Path, settings: Mapping[str, Any]) -> Iterator[Trackers]:
    """Open the tracker. It is closed however training ends, so that everything that was logged is sent."""
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
