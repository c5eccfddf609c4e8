"""Runs functions on many inputs: calls in this process, heavy work in sandboxed workers on one machine or several."""

from spavl.engine.driver import EngineName
from spavl.engine.sandbox import WorkerDeath, WorkerLimits
from spavl.engine.tasks import map_shards, map_streams
from spavl.engine.workers import Workers, open_workers

__all__ = ["EngineName", "WorkerDeath", "WorkerLimits", "Workers", "map_shards", "map_streams", "open_workers"]
