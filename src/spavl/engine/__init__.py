"""Maps functions over many things: calls in this process, heavy work in guarded workers, on one machine or many."""

from spavl.engine.tasks import map_lanes, map_shards
from spavl.engine.workers import Died, EngineName, Limits, Workers, open_workers

__all__ = ["Died", "EngineName", "Limits", "Workers", "map_lanes", "map_shards", "open_workers"]
