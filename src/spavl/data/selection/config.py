from pydantic import Field

from spavl.config import Settings
from spavl.models.uri import ModelName
from spavl.records import Image
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "selection",
    reads=("taxonomy", "sourcing", "downloads"),
    writes=Image,
    does="keeps each image once, up to a quota for each leaf, and assigns it to a split",
    files=("removals", "relevance"),
    version=6,
)


class SelectionConfig(Settings):
    per_leaf: int = Field(10, ge=1, description="images for each leaf, all splits together")
    near_duplicate_bits: int = Field(
        6,
        ge=-1,
        le=11,
        description="images are near duplicates if at most so many of their 64 hash bits differ and all their regions "
        "agree, so that a template with other words is another image; -1: only equal images",
    )
    removals: str = Field("", description="a file of images to leave out, one hash or URL a line")
    relevance: ModelName = Field(
        "", description="a model that checks whether each image belongs to its leaf; empty: none"
    )
    test_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of each leaf's images held out for evaluation, assigned by their bytes "
        "and the seed: an image "
        "keeps its split when others are added or removed, or when per_leaf grows",
    )
    validation_share: float = Field(0.07, ge=0, lt=1, description="share of each leaf's others kept for validation")
    held_out_leaves: tuple[str, ...] = Field((), description="leaves whose images are used for evaluation only")
