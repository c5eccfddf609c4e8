"""Trains a few steps in one process of several; started by test_spread."""

import sys
from pathlib import Path
from typing import Any

import torch
from tests.courses import LOOP, new_dpo
from tests.test_ppo import new_ppo, new_reward
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from spavl.training.loop import Course, train
from spavl.training.states import States


def course_of(by: str, states: Path) -> Course[Any]:
    """Of uneven steps: now and then a process must stand in for a share that is not there. Rewards begin at none, and
    what is learnt first is as small as rounding in single precision.
    """
    if by == "dpo":
        return new_dpo(steps=4, pairs_per_step=3, tokens_per_pass=120)[1]
    return new_reward("float64")[1] if by == "reward" else new_ppo(states / "rounds", updates=2, kl_target=1.0)


def main(by: str, folder: Path, shard: bool, stop_after: int) -> None:
    states = folder / "states"
    course = course_of(by, states)
    for step in train(course, LOOP.model_copy(update={"shard": shard}), States(states)):
        if step.number == stop_after:
            return
    weights = get_model_state_dict(course.module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        torch.save(weights, folder / "weights.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "shard", int(sys.argv[4]))
