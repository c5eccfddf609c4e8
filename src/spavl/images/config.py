from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Image

PLAN = Plan(
    "images",
    reads=("taxonomy",),
    writes=Image,
    does="finds pictures for each leaf, decodes them safely, gives each to a split",
    files=("source",),
)


class ImagesConfig(Settings):
    source: str = Field("miniature", description="miniature, or a folder with one folder of pictures a leaf")
    per_leaf: int = Field(10, ge=1, description="pictures wanted for each leaf, all splits together")
    test_per_leaf: int = Field(5, ge=0, description="of these, how many are held out for evaluation")
    validation_share: float = Field(0.07, ge=0, lt=1, description="share of the others kept for validation")
    held_out_leaves: tuple[str, ...] = Field((), description="leaves whose pictures no training may see")
    smallest_side: int = Field(48, ge=1, description="smaller pictures are rejected")
