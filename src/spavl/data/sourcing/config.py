from typing import Literal

from pydantic import Field

from spavl.config import Settings
from spavl.records import Candidate
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "sourcing",
    reads=("taxonomy",),
    writes=Candidate,
    does="lists candidate images for each leaf",
    files=("source", "search_model"),
    rows_refer_to_files=True,
    texts=("caption", "license"),
    keeps_rows=True,
    version=3,
)

# About half of the images found on the web are gone or unfit.
PER_IMAGE_WANTED = 3


class SourcingConfig(Settings):
    source: str = Field(
        "miniature",
        description="miniature; a folder with one folder of images per leaf; or a source to search: tables of URLs, "
        "Parquet or Arrow of images, WebDataset tars, unsorted images, hub/OWNER/NAME",
    )
    search_by: Literal["words", "captions", "images"] = Field(
        "words",
        description="how unsorted images are searched: by the words of their captions, or by "
        "embeddings of their captions "
        "or of the images",
    )
    search_model: str = Field(
        "",
        description="model of the embeddings, a path or a hub id: CLIP or SigLIP; for captions also a model of "
        "sentence-transformers",
    )
    per_leaf: int | None = Field(
        None,
        ge=1,
        description=f"candidates for each leaf; not given: {PER_IMAGE_WANTED} x selection.per_leaf",
    )
    min_side: int | None = Field(
        None,
        ge=1,
        description="leave out rows of a table that state a shorter side; not given: downloads.min_side",
    )
    max_unsafe: float | None = Field(
        None,
        ge=0,
        le=1,
        description="leave out rows of a table with a larger punsafe (LAION's probability of an unsafe image)",
    )
    max_gb: float = Field(100, gt=0, description="largest data set that is downloaded from a hub, in GB")
