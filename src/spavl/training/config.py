from pydantic import Field

from spavl.config import Settings
from spavl.plan import Plan
from spavl.records import TrainingStep
from spavl.training.schedule import LoopConfig

PLAN = Plan(
    "training",
    reads=("dataset",),
    writes=TrainingStep,
    does="aligns a model on the pairs by DPO",
    outside=True,
    files=("model",),
)


class TrainingConfig(Settings):
    model: str = Field("miniature/base", description="the model to align: hf/PATH-or-hub-id or miniature/base")
    beta: float = Field(0.1, gt=0, description="DPO's beta: how dear it is to move away from the reference")
    anchor: float = Field(
        0.0,
        ge=0,
        description="weight of the chosen answers' own likelihood, against drifting into garble; 0: plain DPO",
    )
    epochs: int = Field(1, ge=1, description="times the data set is gone through")
    pairs_per_step: int = Field(8, ge=1, description="pairs in a batch")
    share: bool = Field(True, description="compute a picture and a question once for all their answers, exactly")
    loop: LoopConfig = Field(LoopConfig(), description="the loop's settings")
