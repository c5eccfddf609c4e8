"""Saved states: whole or not there, whatever befalls the process that writes them."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from spavl.training.loop.loop import Checkpoints, TrainingTask, train
from tests.support.forked import Forked
from tests.support.training_objectives import LOOP, new_dpo
from tests.training.ppo.test_ppo import new_ppo, new_reward

# Trains as `trained` does, but stops for good in the middle of writing its second state, or its second round.
_STUCK = """
import io, sys, time
from pathlib import Path
import torch
from spavl.store.files import writing_to
from spavl.training.ppo import rollout_store
from tests.training.loop import test_checkpoints

by, folder, place = sys.argv[1:]
saved = []

def stuck():
    print("half", flush=True)
    time.sleep(600)

def half(state, path):
    saved.append(path)
    buffer = io.BytesIO()
    whole(state, buffer)
    second = place == "state" and len(saved) == 2
    Path(path).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2] if second else buffer.getvalue())
    if second:
        stuck()

def half_a_round(path, text):
    if "000001" not in path.name or place != "round":
        return whole_round(path, text)
    with writing_to(path) as temporary:
        temporary.write_text(text[: len(text) // 2])
        stuck()

whole, torch.save = torch.save, half
whole_round, rollout_store.write_text = rollout_store.write_text, half_a_round
test_checkpoints.trained(Path(folder), by)
"""


def task_of(by: str, folder: Path) -> TrainingTask[Any]:
    """Six steps of it."""
    if by == "dpo":
        return new_dpo(steps=6)[1]
    if by == "reward":
        return new_reward(epochs=2)[1]
    return new_ppo(folder / "rollouts", updates=2, kl_target=1.0)


def trained(folder: Path, by: str, keep: int = 2) -> dict[str, Tensor]:
    task = task_of(by, folder)
    assert task.steps == 6
    list(train(task, LOOP, Checkpoints(folder, keep)))
    return dict(task.module.state_dict())


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Tensor]]:
    return functools.cache(lambda by: trained(tmp_path_factory.mktemp(by), by))


@pytest.mark.parametrize(
    ("by", "place"),
    [
        ("dpo", "state"),
        pytest.param("reward", "state", marks=pytest.mark.slow),
        pytest.param("ppo", "state", marks=pytest.mark.slow),
        pytest.param("ppo", "round", marks=pytest.mark.slow),
    ],
)
def test_killed_in_the_middle_of_a_file_it_goes_on_from_the_state_before(
    by: str, place: str, unbroken: Callable[[str], dict[str, Tensor]], tmp_path: Path
) -> None:
    child = Forked(_STUCK, by, str(tmp_path), place)
    while "half" not in child.stdout:
        assert child.poll() is None, child.stderr
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert [path.name for path in tmp_path.glob("step-*.state")] == ["step-00000002.state"]
    assert place != "state" or list(tmp_path.glob(".step-*")), "half a file is left"
    resumed = trained(tmp_path, by)
    assert not list(tmp_path.glob(".step-*"))
    assert all(torch.equal(values, resumed[name]) for name, values in unbroken(by).items())


def test_the_last_few_are_kept_and_any_of_them_leads_to_the_same_weights(
    unbroken: Callable[[str], dict[str, Tensor]], tmp_path: Path
) -> None:
    trained(tmp_path, "dpo", keep=3)
    saved = sorted(path.name for path in tmp_path.iterdir())
    assert saved == ["step-00000002.state", "step-00000004.state", "step-00000006.state"]
    (tmp_path / saved[2]).unlink()
    # A disk that lost the end of a file: the one before it is as good.
    (tmp_path / saved[1]).write_bytes((tmp_path / saved[1]).read_bytes()[:-1000])
    resumed = trained(tmp_path, "dpo")
    assert all(torch.equal(values, resumed[name]) for name, values in unbroken("dpo").items())
