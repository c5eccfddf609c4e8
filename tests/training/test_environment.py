"""What the environment says to accelerate and torch moves no number of a training, or is refused by its name."""

import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from spavl.errors import ConfigError
from spavl.training.config import TrainingConfig
from spavl.training.loop import distributed
from spavl.training.model.trainable import check_float32, float32_error, load
from tests.support.forked import ran
from tests.training.test_train import FAST, data, spavl

__all__ = ["data"]

TRAIN = ("train", "dpo", "--model", "miniature/base", "--data", "set", "--max_invalid_fraction", "0.2", *FAST)
_LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--mixed_precision", "bf16"]


def started(command: Sequence[str], **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACCELERATE_")}
    environment |= {"OMP_NUM_THREADS": "1", "HF_HOME": str(Path.cwd() / "hf")} | more
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def curve(run: str, name: str) -> list[float]:
    rows = pq.read_table(Path(run) / "tables" / "training.parquet").to_pylist()
    return [row["value"] for row in sorted(rows, key=lambda row: row["step"]) if row["name"] == name]


@pytest.fixture
def plain(data: Path) -> list[float]:
    """The norms of the gradients of a training that nobody's environment has a say in."""
    assert spavl(*TRAIN[1:], "--out", "plain") == 0
    return curve("plain", "grad_norm")


@pytest.mark.slow
def test_settings_decide_and_not_the_environment_of_accelerate(
    plain: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Read when a training begins, so that a process which has loaded torch before is as good as one that starts.
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    settings_decided(ran(Path.cwd(), *TRAIN, "--out", "other"), plain)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ([sys.executable, "-m", "spavl"], {"ACCELERATE_MIXED_PRECISION": "bf16"}),
        ([*_LAUNCH, "--num_processes", "2", "-m", "spavl"], {}),
    ],
)
def test_so_they_do_from_the_start_of_a_process(
    command: list[str], variables: dict[str, str], plain: list[float]
) -> None:
    ended = started([*command, *TRAIN, "--out", "other"], ACCELERATE_GRADIENT_ACCUMULATION_STEPS="4", **variables)
    settings_decided(ended, plain)


def settings_decided(ended: subprocess.CompletedProcess[str], plain: list[float]) -> None:
    assert ended.returncode == 0, ended.stderr
    assert "has no effect: training." in ended.stderr
    assert curve("other", "loss")[0] == pytest.approx(math.log(2), abs=1e-6)
    assert curve("other", "grad_norm") == pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize(
    ("variable", "value", "name"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "true", "DeepSpeed"),
        ("ACCELERATE_USE_FSDP", "true", "accelerate's FSDP"),
        ("ACCELERATE_USE_MEGATRON_LM", "true", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "parallelism"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "dynamo"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", "FP8"),
    ],
)
def test_what_would_train_in_its_place_is_refused_by_name_before_anything_is_done(
    variable: str, value: str, name: str, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv(variable, value)
    for more in ((), ("--dry-run",)):
        assert spavl(*TRAIN[1:], "--out", "run", *more) == 2
        told = capsys.readouterr().err
        assert name in told and f"{variable}={value}" in told and told.count("  next:  ") == 1
    assert not Path("run").exists()
    with pytest.raises(ConfigError, match=name):
        distributed.new_accelerator()


@pytest.mark.slow
def test_a_configuration_of_fsdp_that_lies_in_the_users_home_is_refused_through_a_real_launch(data: Path) -> None:
    Path("fsdp.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nmixed_precision: bf16\nnum_machines: 1\n"
        "num_processes: 2\nuse_cpu: true\nfsdp_config:\n  fsdp_version: 2\n"
        "  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP\n"
    )
    launch = [*_LAUNCH[:3], "--config_file", "fsdp.yaml", "-m", "spavl"]
    ended = started([*launch, *TRAIN, "--out", "run"])
    assert ended.returncode != 0 and "accelerate's FSDP" in ended.stderr and not Path("run").exists()


@pytest.mark.slow
def test_processes_that_do_not_know_of_each_other_are_refused(data: Path) -> None:
    """torchrun on CPUs, where accelerate looks for a GPU unless it is told: each would train, and write, by itself."""
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "spavl"]
    ended = started([*two, *TRAIN, "--out", "run"], CUDA_VISIBLE_DEVICES="")
    assert ended.returncode != 0 and "accelerate found 1" in ended.stderr, ended.stderr
    assert "ACCELERATE_USE_CPU=true" in ended.stderr


def test_tf32_that_is_switched_on_is_switched_off() -> None:
    usual = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
        load(TrainingConfig())
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", False)
    finally:
        torch.set_float32_matmul_precision(usual[0])
        torch.backends.cudnn.allow_tf32 = usual[1]


@pytest.mark.slow
def test_so_it_is_where_a_container_has_switched_it_on() -> None:
    asked = "import torch; from spavl.training.config import TrainingConfig; "
    asked += "from spavl.training.model.trainable import load; "
    asked += "print(torch.get_float32_matmul_precision()); load(TrainingConfig()); "
    asked += "print(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)"
    ended = started([sys.executable, "-c", asked], TORCH_ALLOW_TF32_CUBLAS_OVERRIDE="1")
    assert ended.stdout.split() == ["high", "highest", "False"], ended.stderr


def test_a_device_whose_float32_is_something_else_is_refused() -> None:
    cpu = torch.device("cpu")
    check_float32(cpu)
    assert float32_error(cpu) < 1e-6
    # Stands for whatever rounds products without saying so.
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ConfigError, match="float32") as raised:
        check_float32(cpu)
    assert "NVIDIA_TF32_OVERRIDE" in str(raised.value)
