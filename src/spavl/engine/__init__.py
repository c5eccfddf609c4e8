"""Maps functions over many things: calls in this process, heavy work in guarded workers, on one machine or many."""

from spavl.engine.driver import EngineName
from spavl.engine.sandbox import WorkerDeath, WorkerLimits
from spavl.engine.tasks import map_shards, map_streams
from spavl.engine.workers import Workers, open_workers

__all__ = ["EngineName", "WorkerDeath", "WorkerLimits", "Workers", "map_shards", "map_streams", "open_workers"]
