"""Saved states: whole or not there, whatever befalls the process that writes them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.courses import LOOP, new_dpo
from torch import Tensor

from spavl.training.loop import train
from spavl.training.states import States

# Trains as `trained` does, but stops for good in the middle of writing the second state.
_STUCK = """
import io, sys, time
from pathlib import Path
import torch
from tests import test_states
from spavl.training import states

whole, saved = torch.save, []
def half(state, path):
    saved.append(path)
    if len(saved) < 2:
        return whole(state, path)
    buffer = io.BytesIO()
    whole(state, buffer)
    Path(path).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    print("half", flush=True)
    time.sleep(600)

torch.save = half
test_states.trained(Path(sys.argv[1]))
"""


def trained(folder: Path, keep: int = 2) -> dict[str, Tensor]:
    model, dpo = new_dpo(steps=6)
    list(train(dpo, LOOP, States(folder, keep)))
    return dict(model.state_dict())


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return trained(tmp_path_factory.mktemp("unbroken"))


def test_killed_in_the_middle_of_a_state_it_goes_on_from_the_one_before(
    unbroken: dict[str, Tensor], tmp_path: Path
) -> None:
    child = subprocess.Popen([sys.executable, "-c", _STUCK, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert any("half" in line for line in child.stdout), "it should have come to its second state"
    child.kill()
    child.wait()
    assert [path.name for path in tmp_path.glob("step-*.state")] == ["step-00000002.state"]
    resumed = trained(tmp_path)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_the_last_few_are_kept_and_any_of_them_leads_to_the_same_weights(
    unbroken: dict[str, Tensor], tmp_path: Path
) -> None:
    trained(tmp_path, keep=3)
    saved = sorted(path.name for path in tmp_path.iterdir())
    assert saved == ["step-00000002.state", "step-00000004.state", "step-00000006.state"]
    (tmp_path / saved[2]).unlink()
    # A disk that lost the end of a file: the one before it is as good.
    (tmp_path / saved[1]).write_bytes((tmp_path / saved[1]).read_bytes()[:-1000])
    resumed = trained(tmp_path)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
