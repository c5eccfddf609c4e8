from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Photo

PLAN = Plan(
    "pictures",
    reads=("candidates",),
    writes=Photo,
    does="fetches each candidate, decodes it safely and measures it",
)


class PicturesConfig(Settings):
    smallest_side: int = Field(48, ge=1, description="smaller pictures are rejected")
