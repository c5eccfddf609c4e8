"""A training spread over processes is the same training, and its states can be taken up by any number of them."""

import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.forked import Forked

# Two processes on this machine that speak over gloo, at a port that is free.
_TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
_RUN = """if True:
    import os, sys
    from pathlib import Path
    import torch
    torch.set_num_threads(1)
    os.environ |= dict(each.split("=") for each in sys.argv[5:])
    from tests.support.distributed_run import main
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "shard", int(sys.argv[4]))
"""


def trained(by: str, folder: Path, processes: int, how: str, stop_after: int = 0) -> dict[str, Tensor]:
    """By this many processes, which find each other by the variables that torchrun sets."""
    own = ["ACCELERATE_USE_CPU=true"]
    if processes > 1:
        own += ["MASTER_ADDR=127.0.0.1", f"MASTER_PORT={_free_port()}", f"WORLD_SIZE={processes}"]
    words = by, str(folder), how, str(stop_after), *own
    ranks = [(f"RANK={number}", f"LOCAL_RANK={number}") if processes > 1 else () for number in range(processes)]
    running = [Forked(_RUN, *words, *rank) for rank in ranks]
    try:
        ended = [each.wait(300) for each in running]
    finally:
        for each in running:
            each.kill()
    assert not any(ended), [each.stderr for each in running]
    return weights_in(folder)


def weights_in(folder: Path) -> dict[str, Tensor]:
    out = folder / "weights.pt"
    return torch.load(out) if out.exists() else {}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Tensor]]:
    return functools.cache(lambda by: trained(by, tmp_path_factory.mktemp(by), 1, "whole"))


def the_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Up to the order of sums."""
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


@pytest.mark.parametrize("by", ["dpo", *(pytest.param(by, marks=pytest.mark.slow) for by in ("reward", "ppo"))])
def test_two_processes_end_with_the_weights_of_one(
    by: str, alone: Callable[[str], dict[str, Tensor]], tmp_path: Path
) -> None:
    """A step of three is an uneven load: one process must stand in for a share that is not there."""
    assert the_same(trained(by, tmp_path, 2, "whole"), alone(by))


@pytest.mark.slow
def test_so_they_do_when_torchrun_starts_them(alone: Callable[[str], dict[str, Tensor]], tmp_path: Path) -> None:
    command = [*_TWO, "-m", "tests.support.distributed_run", "dpo", str(tmp_path), "whole", "0"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert the_same(weights_in(tmp_path), alone("dpo"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["whole", "shard"])
@pytest.mark.parametrize("by", ["lora", "adapter", "tower", "blocks", "bf16"])
def test_so_they_do_whatever_of_the_model_is_trained_and_in_whatever_numbers(
    by: str, how: str, alone: Callable[[str], dict[str, Tensor]], tmp_path: Path
) -> None:
    one, other = trained(by, tmp_path, 2, how), alone(by)
    apart = sum(float((one[name].float() - other[name].float()).square().sum()) for name in other) ** 0.5
    # They moved by about one; where a gradient is rounding and nothing else, Adam makes a step of it.
    assert one.keys() == other.keys() and apart < (0.02 if by == "bf16" else 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["dpo", "reward"])
def test_what_two_processes_have_begun_on_shards_one_can_end(
    by: str, alone: Callable[[str], dict[str, Tensor]], tmp_path: Path
) -> None:
    assert not trained(by, tmp_path, 2, "shard", stop_after=2)
    assert the_same(trained(by, tmp_path, 1, "whole"), alone(by))


@pytest.mark.slow
def test_what_two_policies_have_begun_to_answer_one_can_end(
    alone: Callable[[str], dict[str, Tensor]], tmp_path: Path
) -> None:
    """Stopped between two steps on the same answers: they are read again, and were written once."""
    assert not trained("ppo", tmp_path, 2, "whole", stop_after=3)
    assert the_same(trained("ppo", tmp_path, 1, "whole"), alone("ppo"))
