"""What a stage reads and what it writes. It imports little, so that the list of stages loads at once."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from spavl.records import Record

Out = TypeVar("Out", bound=Record)


@dataclass(frozen=True, slots=True)
class StageSpec(Generic[Out]):
    stage: str
    reads: tuple[str, ...]
    writes: type[Out]
    does: str
    # The settings that may name files of the user: what lies there is part of what the rows hang on.
    files: tuple[str, ...] = ()
    # Whether the rows only point into those files, so that what is made of the rows hangs on the files as well.
    points: bool = False
    # Whether a trial (`--limit`) gives this stage fewer inputs. The stages after it see it by the rows they read.
    limited: bool = False
    # Inputs lost to faults that may pass: with a larger share the stage stops instead, to be typed again.
    lost_at_most: float = 0.02
    # What is lost to such faults is done once more, so many seconds after all else.
    again_after: float = 2
    # Whether its rows come from the web or a device, so that a replay takes them as they are.
    outside: bool = False
    # Raised when the code of a stage would give other rows for the same inputs.
    version: int = 1
