from pydantic import Field, field_validator

from spavl.config import Settings
from spavl.data.downloads.allowed_hosts import allowed_of, place_of_proxy
from spavl.engine import EngineName
from spavl.records import DownloadedImage
from spavl.stages.notes import RegionSetting
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "downloads",
    reads=("sourcing",),
    writes=DownloadedImage,
    does="downloads each candidate, decodes it in a sandbox, measures it and filters it",
    files=("similarity_model",),
    # In any list of URLs, many servers are slow or overloaded. If most are, the cause is our own network.
    max_failed_fraction=0.5,
    seconds_before_retry=30,
    outside=True,
    version=8,
)


class FetchConfig(Settings):
    """How images are downloaded. After a change to these settings only temporary failures are retried."""

    timeout: float = Field(20, gt=0, description="seconds for one download")
    tries: int = Field(
        2,
        ge=1,
        le=1_000,
        description="tries of a URL that fails temporarily (time-out, 429, 5xx); and as many again at the end",
    )
    per_host: int = Field(4, ge=1, description="requests to one host in flight")
    min_delay: float = Field(0.1, ge=0, description="seconds between two requests to one host, at least")
    allow: tuple[str, ...] = Field(
        (),
        description="hosts and networks that are allowed although they are not public, each with "
        "ports 80 and 443 or the "
        "one given: images.example.org:8080, 10.1.0.0/16",
    )
    proxy: str = Field(
        "",
        description="http://HOST:PORT of a proxy for all downloads, which also resolves names; empty: none, and "
        "HTTP_PROXY is ignored",
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
    min_side: int = Field(48, ge=1, description="images with a shorter side than this are rejected")
    max_aspect_ratio: float = Field(3.0, ge=1, description="images with a larger ratio of their sides are rejected")
    extension_must_match: bool = Field(True, description="reject a file whose extension disagrees with its format")
    max_text_area: float | None = Field(
        None,
        ge=0,
        le=1,
        description="largest share of an image that text may cover; not given: not checked",
    )
    max_nudity: float | None = Field(
        None, ge=0, le=1, description="largest score of Yahoo's Open-NSFW network, such as 0.5; not given: not checked"
    )
    faces: RegionSetting = Field(
        "keep",
        description="images with faces: keep: not looked for, count: kept and counted, "
        "blur: each face is covered before the image is stored, drop: rejected",
    )
    face_score: float = Field(0.5, gt=0, lt=1, description="least score of a face by CenterFace; lower finds more")
    personal_words: RegionSetting = Field(
        "keep",
        description="images with personal data in readable text, such as e-mail addresses and phone numbers: "
        "as for faces",
    )
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="least similarity of image and caption, such as 0.28; not given: not checked"
    )
    similarity_model: str = Field(
        "", description="CLIP or SigLIP model for images whose source gives no similarity: a path or a hub id"
    )
    fetch: FetchConfig = Field(FetchConfig(), description="how images are downloaded")
    engine: EngineName = Field(
        "asyncio", description="engine: asyncio, daft (this machine), ray (Daft on a cluster: RAY_ADDRESS)"
    )
    workers: int = Field(0, ge=0, le=10_000, description="worker processes on each machine; 0: one per core")
    worker_timeout: float = Field(60, gt=0, description="seconds for a shard of 16; a slower worker is killed")
    worker_gb: float = Field(4, gt=0, description="memory limit of a worker, in GB")

    @property
    def hides(self) -> bool:
        """Whether images are covered or rejected for what they show of persons: then no original may be stored."""
        return bool({self.faces, self.personal_words} & {"blur", "drop"})
