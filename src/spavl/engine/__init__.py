"""Runs functions on many inputs: calls in this process, heavy work in sandboxed workers on one machine or several."""

from spavl.engine.driver import EngineName
from spavl.engine.sandbox import WorkerDeath, WorkerLimits
from spavl.engine.tasks import map_lanes, map_shards
from spavl.engine.workers import Workers, open_workers

__all__ = ["EngineName", "WorkerDeath", "WorkerLimits", "Workers", "map_lanes", "map_shards", "open_workers"]
