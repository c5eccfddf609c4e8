"""Resizes images in worker processes: an image may crash its decoder, and decoding is slow."""

import functools
from collections.abc import Sequence

from spavl.engine.driver import cores
from spavl.engine.sandbox import Sandbox, WorkerDeath, WorkerLimits
from spavl.imaging.resize import smaller

# Four workers resize images faster than models answer.
_WORKERS = 4
_LIMITS = WorkerLimits(seconds=60, memory=4 * 2**30)


def smaller_apart(data: bytes, longest_side: int) -> bytes | None:
    """Like `smaller`; also None if the worker crashed, ran out of memory or took too long."""
    (made,) = _workers().run([(data, longest_side)])
    return None if made is None or isinstance(made, WorkerDeath) else bytes(made)


@functools.cache
def _workers() -> Sandbox:
    return Sandbox(_smaller_all, min(_WORKERS, cores()), _LIMITS)


def _smaller_all(shard: Sequence[tuple[bytes, int]]) -> list[bytes | None]:
    return [smaller(*asked) for asked in shard]
