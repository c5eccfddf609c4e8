from pydantic import Field, field_validator

from spavl.config import Settings
from spavl.data.downloads.allowed_hosts import allowed_of, place_of_proxy
from spavl.engine import EngineName
from spavl.records import DownloadedImage
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "downloads",
    reads=("sourcing",),
    writes=DownloadedImage,
    does="fetches each candidate, decodes it safely, measures it and filters it",
    files=("similarity_model",),
    # Of a list of URLs, many are slow or overloaded on any day; only where most are, it must be our own net.
    max_failed_fraction=0.5,
    seconds_before_retry=30,
    outside=True,
    version=6,
)


class FetchConfig(Settings):
    """How servers are asked. With other values here, only what failed in passing is asked again."""

    timeout: float = Field(20, gt=0, description="time for one answer, with its body")
    tries: int = Field(
        2,
        ge=1,
        description="how often a URL is asked that fails in passing: timeout, 429, 5xx; and as often at the end",
    )
    per_host: int = Field(4, ge=1, description="requests to one host at the same time")
    min_delay: float = Field(0.1, ge=0, description="least time between two requests to one host")
    allow: tuple[str, ...] = Field(
        (),
        description="hosts and networks that are asked though they are not public, each with ports 80 and 443 or the "
        "one given: images.example.org:8080, 10.1.0.0/16",
    )
    proxy: str = Field(
        "",
        description="http://HOST:PORT that all images are fetched through and that looks names up; empty: none, and "
        "HTTP_PROXY is not heeded",
    )

    @field_validator("allow")
    @classmethod
    def _allows_places(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for each in allow:
            allowed_of(each)
        return allow

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, proxy: str) -> str:
        if proxy:
            place_of_proxy(proxy)
        return proxy


class DownloadsConfig(Settings):
    min_side: int = Field(48, ge=1, description="images with a shorter side are rejected")
    max_aspect_ratio: float = Field(3.0, ge=1, description="images whose sides differ by more are rejected")
    extension_must_match: bool = Field(True, description="reject a file whose name promises another format than it has")
    max_text_area: float | None = Field(
        None,
        ge=0,
        le=1,
        description="largest share of an image that text may cover; not given: text is not looked for",
    )
    max_nudity: float | None = Field(
        None, ge=0, le=1, description="largest score of Yahoo's Open-NSFW network, such as 0.5; not given: not asked"
    )
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="least likeness of image and caption, such as 0.28; not given: not asked"
    )
    similarity_model: str = Field(
        "", description="CLIP or SigLIP model for images whose source gives no likeness: a path or a hub id"
    )
    fetch: FetchConfig = Field(FetchConfig(), description="how servers are asked for images")
    engine: EngineName = Field(
        "asyncio", description="who places the work: asyncio, daft (this machine), ray (Daft on a cluster: RAY_ADDRESS)"
    )
    workers: int = Field(0, ge=0, description="worker processes on each machine; 0: one a core")
    worker_timeout: float = Field(60, gt=0, description="a worker that takes longer over a shard of 16 is ended")
    worker_gb: float = Field(4, gt=0, description="memory that a worker may take, in GB")
