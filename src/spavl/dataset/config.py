from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Sample

PLAN = Plan(
    "dataset",
    reads=("taxonomy", "images", "questions", "responses", "verdicts", "preferences"),
    writes=Sample,
    does="keeps the pairs that can teach, audits the splits, writes the data set",
)


class DatasetConfig(Settings):
    drop_unsafe_chosen: bool = Field(True, description="leave out pairs whose better answer is still unsafe")
    drop_refusing_chosen: bool = Field(
        True, description="leave out pairs whose better answer refuses a harmless question: they teach over-refusal"
    )
