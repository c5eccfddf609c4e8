"""The loop's settings and its learning rate. Holds no torch: the command line reads it."""

import math
from typing import Literal

from pydantic import Field

from spavl.config import Settings


class LoopConfig(Settings):
    learning_rate: float = Field(1e-6, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="how it falls after the warm-up")
    warmup_steps: int = Field(10, ge=0, description="steps of linear warm-up")
    warmup_ratio: float = Field(0.0, ge=0, lt=1, description="the same as a share of all steps; the longer one counts")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="what the model computes in; trained weights are kept in float32 always"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again on the way back: a third more time, far less memory"
    )
    shard: bool = Field(False, description="spread the weights over the processes of accelerate launch (FSDP2)")
    tracker: Literal["", "tensorboard", "trackio", "wandb"] = Field(
        "", description="where else the curves are sent while it runs; its package must be installed"
    )
    save_every: int = Field(50, ge=1, description="steps between saved states")
    keep_last: int = Field(2, ge=1, description="saved states that are kept")


def learning_rate_at(step: int, steps: int, config: LoopConfig) -> float:
    """Linear warm-up to the peak, then down to zero, or on at the peak."""
    warmup = max(config.warmup_steps, math.ceil(config.warmup_ratio * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    gone = (step - warmup) / max(1, steps - warmup)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * gone)), "linear": 1 - gone, "constant": 1.0}
    return config.learning_rate * left[config.schedule]
