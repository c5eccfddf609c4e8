"""The loop's settings and its learning rate. Holds no torch: the command line reads it."""

import math

from pydantic import Field

from spavl.config import Settings


class LoopConfig(Settings):
    learning_rate: float = Field(1e-6, gt=0, description="peak learning rate")
    warmup_steps: int = Field(10, ge=0, description="steps of linear warm-up before the cosine")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    save_every: int = Field(50, ge=1, description="steps between saved states")


def learning_rate_at(step: int, steps: int, config: LoopConfig) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
