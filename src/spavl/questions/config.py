from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import Question

PLAN = Plan(
    "questions",
    reads=("taxonomy", "images"),
    writes=Question,
    does="has a model write easy questions, hard questions and hard statements",
    files=("writer",),
    limited=True,
)


class QuestionsConfig(Settings):
    writer: str = Field("miniature/base", description="the model that looks at the pictures and writes the questions")
    prompts: str = Field(
        "miniature", description="which set of prompts to write with: v1 for real models, or miniature"
    )
    temperature: float = Field(1.0, ge=0, le=2, description="how freely the writer writes")
    top_p: float = Field(1.0, gt=0, le=1, description="share of the likeliest words the writer chooses from")
    max_tokens: int = Field(160, ge=1, description="longest question")
