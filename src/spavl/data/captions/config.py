from pydantic import Field

from spavl.config import Settings
from spavl.models.uri import ModelName
from spavl.records import Description
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "captions",
    reads=("selection",),
    writes=Description,
    does="has a model caption and describe the images; where it refuses, the source's caption is used",
    files=("writer", "prompts"),
    takes_limit=True,
    texts=("caption", "details"),
    keeps_rows=True,
    version=2,
)


class CaptionsConfig(Settings):
    writer: ModelName = Field(
        "", description="the model that describes the images; empty: only the sources' captions are used"
    )
    prompts: str = Field(
        "v1", description="prompts of the describer: v1, miniature, or a folder of your own with caption.txt"
    )
    max_tokens: int = Field(400, ge=1, le=1_000_000, description="longest description")
