"""What a model can learn by, under the names of the settings. To add one: a course, and a line here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from spavl.progress import Screen
from spavl.records import Sample
from spavl.training.config import TrainingConfig
from spavl.training.dpo import DPO
from spavl.training.loop import Course
from spavl.training.reference import ReferenceCache
from spavl.training.sft import SFT


class Given(NamedTuple):
    """All that a course is made of."""

    model: Any
    processor: Any
    samples: Sequence[Sample]
    picture: Callable[[str], bytes]
    settings: TrainingConfig
    seed: int
    # Of the reference's scores; a rehearsal has none.
    cache: ReferenceCache | None


class Objective(Course[Any], Protocol):
    def prepare(self, screen: Screen) -> dict[str, object]:
        """Do what must be done once, before the first step; gives what the manifest should tell of it."""
        ...


COURSES: Mapping[str, Callable[[Given], Objective]] = {
    "dpo": lambda given: DPO(*given),
    "sft": lambda given: SFT(*given[:-1]),
}
