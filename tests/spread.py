"""Trains a few steps of DPO in one process of several; started by test_spread."""

import sys
from pathlib import Path

import torch
from tests.courses import LOOP, new_dpo
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from spavl.training.loop import train
from spavl.training.states import States


def main(out: Path, states: Path, shard: bool, stop_after: int) -> None:
    _, dpo = new_dpo(steps=4, pairs_per_step=3, tokens_per_pass=120)
    for step in train(dpo, LOOP.model_copy(update={"shard": shard}), States(states)):
        if step.number == stop_after:
            return
    weights = get_model_state_dict(dpo.module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        torch.save(weights, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "shard", int(sys.argv[4]))
