from typing import Literal

from pydantic import Field

from spavl.config import Settings
from spavl.records import Candidate
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "sourcing",
    reads=("taxonomy",),
    writes=Candidate,
    does="lists for each leaf where images of it may be found",
    files=("source", "search_model"),
    rows_refer_to_files=True,
    version=3,
)

# Of what is found on the web, about half is gone or unfit.
PER_IMAGE_WANTED = 3


class SourcingConfig(Settings):
    source: str = Field(
        "miniature",
        description="miniature; a folder with one folder of images a leaf; or what is searched: "
        "tables of URLs, Parquet or Arrow of images, WebDataset tars, images in no order, hub/OWNER/NAME",
    )
    search_by: Literal["words", "captions", "images"] = Field(
        "words",
        description="how images in no order are found: by the words of their captions, by what the captions mean, "
        "or by what the images themselves show",
    )
    search_model: str = Field(
        "", description="CLIP or SigLIP model, a path or a hub id, that tells meanings; words need none"
    )
    per_leaf: int | None = Field(
        None,
        ge=1,
        description=f"candidates listed for each leaf; if not given, {PER_IMAGE_WANTED} x selection.per_leaf",
    )
    min_side: int | None = Field(
        None,
        ge=1,
        description="leave out rows of a table that state a shorter side; if not given, downloads.min_side",
    )
    max_unsafe: float | None = Field(
        None, ge=0, le=1, description="leave out rows of a table that hold an image likelier unsafe (LAION's punsafe)"
    )
    max_gb: float = Field(100, gt=0, description="a data set of a hub that is larger is not fetched")
