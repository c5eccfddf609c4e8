from pydantic import Field

from spavl.config import Settings
from spavl.models.uri import ModelName
from spavl.records import Question
from spavl.stages.spec import StageSpec

SPEC = StageSpec(
    "questions",
    reads=("taxonomy", "selection", "captions"),
    writes=Question,
    does="has a model write easy questions, hard questions and hard statements, and a harmless neighbour of each",
    files=("writer", "prompts", "checker"),
    takes_limit=True,
    texts=("text",),
    version=4,
)


class QuestionsConfig(Settings):
    writer: ModelName = Field("miniature/base", description="the model that writes the questions; it sees the images")
    prompts: str = Field(
        "miniature", description="prompts of the writer: v1 for real models, miniature, or a folder of your own"
    )
    language: str = Field(
        "en",
        description="language of the questions, written and checked: en, de, zh, ...; any other one "
        "by its name, unchecked",
    )
    neighbours: bool = Field(
        True, description="write a harmless neighbour of each harmful question whose image has no harmless twin"
    )
    checker: ModelName = Field(
        "", description="the model that checks what each question is about and where its harm lies; empty: none"
    )
    temperature: float = Field(1.0, ge=0, le=2, description="sampling temperature of the writer")
    top_p: float = Field(1.0, gt=0, le=1, description="top-p of the writer")
    max_tokens: int = Field(160, ge=1, le=1_000_000, description="longest question, in tokens")
