"""Trains a few steps in one process of several; started by test_spread."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from spavl.training.config import LoopConfig, TrainableConfig
from spavl.training.loop.loop import Checkpoints, TrainingTask, train
from tests.support.training_objectives import LOOP, new_dpo
from tests.training.ppo.test_ppo import new_ppo, new_reward

# DPO of parts of the model, and in other numbers.
PARTS = {
    "dpo": TrainableConfig(),
    "lora": TrainableConfig(language="lora", lora_rank=4, lora_alpha=8),
    "adapter": TrainableConfig(language="lora", lora_rank=4, lora_alpha=8, projector=False),
    "tower": TrainableConfig(vision="full"),
    "blocks": TrainableConfig(vision=2, language="lora", lora_rank=4, lora_alpha=8),
    "bf16": TrainableConfig(),
}


def task_of(by: str, states: Path, loop: LoopConfig) -> TrainingTask[Any]:
    """Of uneven steps: now and then a process must stand in for a share that is not there. Rewards begin at none, and
    what is learnt first is as small as rounding in single precision.
    """
    if by in PARTS:
        kept = "bfloat16" if loop.precision == "bf16" else "float32"
        uneven = {"steps": 4, "batch_size": 3, "max_tokens_per_microbatch": 120}
        return new_dpo(dtype=kept, trainable=PARTS[by], loop=loop, **uneven)[1]
    return new_reward("float64")[1] if by == "reward" else new_ppo(states / "rollouts", updates=2, kl_target=1.0)


def main(by: str, folder: Path, shard: bool, stop_after: int) -> None:
    states = folder / "states"
    loop = LOOP.model_copy(update={"shard": shard, "precision": "bf16" if by == "bf16" else "float32"})
    task = task_of(by, states, loop)
    for step in train(task, loop, Checkpoints(states)):
        if step.number == stop_after:
            return
    weights = get_model_state_dict(task.module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        torch.save(weights, folder / "weights.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "shard", int(sys.argv[4]))
