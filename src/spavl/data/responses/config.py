from pydantic import Field

from spavl.config import Settings
from spavl.miniature.personas import PERSONAS
from spavl.models.uri import ModelName
from spavl.records import Response
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "responses",
    reads=("selection", "questions"),
    writes=Response,
    does="asks every responder of the pool every question",
    files=("models", "pool"),
    texts=("text", "reasoning"),
    version=2,
)


class ResponsesConfig(Settings):
    models: tuple[ModelName, ...] = Field(
        tuple(f"miniature/{name}" for name in PERSONAS), min_length=2, description="the pool of responders"
    )
    pool: str = Field("", description="a pool instead of models: modern-12, spa-vl-2024 or a TOML file of your own")
    addresses: dict[str, str] = Field({}, description="server addresses of the pool's responders, by their names")
    without: tuple[str, ...] = Field((), description="responders of the pool that are left out")
    temperature: float = Field(1.0, ge=0, le=2, description="sampling temperature of the responders")
    top_p: float = Field(1.0, gt=0, le=1, description="top-p of the responders")
    max_tokens: int = Field(512, ge=1, le=1_000_000, description="longest answer, in tokens")
