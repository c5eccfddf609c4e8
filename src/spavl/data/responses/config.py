from pydantic import Field

from spavl.config import ADDED_LATER, Settings
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
        tuple(f"miniature/{name}" for name in PERSONAS), min_length=1, description="the pool of responders"
    )
    pool: str = Field("", description="a pool instead of models: modern-12, spa-vl-2024 or a TOML file of your own")
    addresses: dict[str, str] = Field({}, description="server addresses of the pool's responders, by their names")
    without: tuple[str, ...] = Field((), description="responders of the pool that are left out")
    samples: int = Field(
        1,
        ge=1,
        le=1_000,
        description="answers of each responder to a question; more than one needs a temperature. A pair can then be "
        "two answers of one responder, and one is enough",
        json_schema_extra=ADDED_LATER,
    )
    temperature: float = Field(1.0, ge=0, le=2, description="sampling temperature of the responders")
    top_p: float = Field(1.0, gt=0, le=1, description="top-p of the responders")
    max_tokens: int = Field(512, ge=1, le=1_000_000, description="longest answer, in tokens")
