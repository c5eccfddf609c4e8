"""What a stage reads and writes. This module imports little, so that the list of stages loads quickly."""

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
    # The settings that may name files of the user: the rows depend on the state of these files.
    files: tuple[str, ...] = ()
    # Whether the rows only refer to places in those files, so that later stages depend on the files as well.
    rows_refer_to_files: bool = False
    # Whether `--limit` gives this stage fewer inputs. Later stages are limited by the rows that they read.
    takes_limit: bool = False
    # The largest fraction of inputs that may fail because a provider did not answer; with more the stage stops.
    max_failed_fraction: float = 0.02
    # Failed inputs are tried once more, this many seconds after the others.
    seconds_before_retry: float = 2
    # Whether the rows come from the web or from training, so that a replay takes them as they are.
    outside: bool = False
    # The fields that hold what people or models wrote, which `privacy.texts` filters.
    texts: tuple[str, ...] = ()
    # Whether `privacy.texts = "drop"` only redacts: an image or a verdict must not be lost for its words.
    keeps_rows: bool = False
    # Incremented when a change of the stage's code gives other rows for the same inputs.
    version: int = 1
