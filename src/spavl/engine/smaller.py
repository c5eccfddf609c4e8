"""Images made smaller by processes of their own: some end the process that unpacks them, and it takes its time."""

import functools
import os
from collections.abc import Sequence

from spavl.engine.apart import LIMITS
from spavl.engine.sandbox import Died, Sandbox
from spavl.imaging.smaller import smaller

# Models are slower than this many can be.
_WORKERS = 4


def smaller_apart(data: bytes, longest_side: int) -> bytes | None:
    """As `smaller`; None, too, where the process did not survive it."""
    (made,) = _workers().run([(data, longest_side)])
    return None if made is None or isinstance(made, Died) else bytes(made)


@functools.cache
def _workers() -> Sandbox:
    return Sandbox(_smaller_all, min(_WORKERS, os.cpu_count() or 1), LIMITS)


def _smaller_all(shard: Sequence[tuple[bytes, int]]) -> list[bytes | None]:
    return [smaller(*asked) for asked in shard]
