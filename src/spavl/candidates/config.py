from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Candidate

PLAN = Plan(
    "candidates",
    reads=("taxonomy",),
    writes=Candidate,
    does="lists for each leaf where pictures of it may be found",
    files=("source",),
    points=True,
)

# Of what is found on the web, about half is gone or unfit.
PER_PICTURE_WANTED = 3


class CandidatesConfig(Settings):
    source: str = Field("miniature", description="miniature, or a folder with one folder of pictures a leaf")
    per_leaf: int | None = Field(
        None, ge=1, description=f"candidates listed for each leaf; if not given, {PER_PICTURE_WANTED} x images.per_leaf"
    )
