"""A training spread over processes is the same training, and its states can be taken up by any number of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

_ALONE = [sys.executable]
# Two processes on this machine that speak over gloo, at a port that is free.
_TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def trained(folder: Path, started: list[str], how: str, stop_after: int = 0) -> dict[str, Tensor]:
    out = folder / "weights.pt"
    command = [*started, "-m", "tests.spread", str(out), str(folder / "states"), how, str(stop_after)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    return torch.load(out) if out.exists() else {}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return trained(tmp_path_factory.mktemp("alone"), _ALONE, "whole")


def the_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Up to the order of sums."""
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_two_processes_end_with_the_weights_of_one(alone: dict[str, Tensor], tmp_path: Path) -> None:
    """A step of three pairs is an uneven load: one process must stand in for a share that is not there."""
    assert the_same(trained(tmp_path, _TWO, "whole"), alone)


def test_what_two_processes_have_begun_on_shards_one_can_end(alone: dict[str, Tensor], tmp_path: Path) -> None:
    assert not trained(tmp_path, _TWO, "shard", stop_after=2)
    assert the_same(trained(tmp_path, _ALONE, "whole"), alone)
