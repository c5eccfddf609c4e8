from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Photo

PLAN = Plan(
    "pictures",
    reads=("candidates",),
    writes=Photo,
    does="fetches each candidate, decodes it safely and measures it",
    # Of a list of URLs, many are slow or overloaded on any day; only where most are, it must be our own net.
    lost_at_most=0.5,
)


class DownloadsConfig(Settings):
    """How servers are asked. With other values here, only what failed in passing is asked again."""

    seconds: float = Field(20, gt=0, description="time for one answer, with its body")
    tries: int = Field(2, ge=1, description="how often a URL is asked that fails in passing: timeout, 429, 5xx")
    per_host: int = Field(4, ge=1, description="requests to one host at the same time")
    seconds_between: float = Field(0.1, ge=0, description="least time between two requests to one host")


class PicturesConfig(Settings):
    smallest_side: int = Field(48, ge=1, description="smaller pictures are rejected")
    downloads: DownloadsConfig = Field(DownloadsConfig(), description="how servers are asked for pictures")
