"""What is seen of a training: on the terminal, in its report, at its trackers, and in what it leaves behind."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from spavl.pipeline.report.terminal import curve_lines, sparkline
from spavl.records import CurvePoint, Rollout
from spavl.store import RunFolder
from spavl.training.loop import monitoring
from spavl.training.loop.loop import StepRecord
from spavl.training.loop.monitoring import Throughput, flops_per_token, line_of, peak_of
from tests.support.servers import Body, ChatServer
from tests.support.training_objectives import new_dpo
from tests.training.ppo.test_reward_and_ppo import BASE, PPO, REWARD, verdict
from tests.training.test_train import FAST, data, spavl

__all__ = ["data"]


def perverse(body: Body) -> str:
    """A guard that takes what is taught for harm, so that a model is best before it has learnt it."""
    learnt = "sorry , i can not help" in str(body["messages"][-1]["content"])
    return f"verdict: {'unsafe' if learnt else 'safe'}\nseverity: {2 * learnt}\nrefuses: no"


@pytest.mark.slow
def test_published_data_is_watched_though_it_does_not_say_what_is_harmful(data: Path, capsys: Any) -> None:
    with ChatServer(verdict) as server:
        seen = (
            "--validation.guard",
            f"openai/ward@{server.url}",
            "--validation.every",
            "2",
            "--loop.tracker",
            "tensorboard",
        )
        assert spavl("dpo", *BASE, *FAST, *seen, "--out", "one") == 0
    told = capsys.readouterr().out
    assert "held-out loss" in told and "unsafe answers" in told and "KL (nats)" in told
    with RunFolder(Path("one"), look_only=True) as run:
        manifest = run.manifest("training")
        names = {point.name for point in run.read("training", CurvePoint)}
    assert manifest is not None
    looks: Any = manifest.notes["validations"]
    assert [look["step"] for look in looks] == [0, 2, 4]
    assert all(look["unsafe_rate"]["n"] == 2 and look["over_refusal"]["n"] == 0 for look in looks)
    assert looks[0]["held_out"]["accuracy"] == 0.5 and looks[2]["held_out"]["margin"] > 0
    assert {"chosen_logprob", "rejected_logprob", "kl", "held_out_loss", "unsafe_rate"} <= names
    page = Path("one/report.html").read_text()
    assert "none is known to be harmless" in page and "held out" in page
    sent = b"".join(path.read_bytes() for path in Path("one/stages/tensorboard/spavl").rglob("events.*"))
    assert all(name in sent for name in (b"unsafe_rate", b"held_out_loss", b"pairs_per_second", b"chosen_logprob"))


def test_patience_with_nothing_to_look_at_is_refused(data: Path, capsys: Any) -> None:
    spare = ("--validation.patience", "2", "--validation.pairs", "0")
    assert spavl("dpo", *BASE, *FAST, *spare, "--out", "one") == 2
    assert "patience needs a validation metric" in capsys.readouterr().err


def test_rollouts_are_text_that_anyone_can_read_and_the_teachers_tracker_stays(data: Path) -> None:
    assert spavl("ppo", *BASE, *REWARD, *PPO, "--reward.loop.tracker", "tensorboard", "--out", "one") == 0
    with RunFolder(Path("one"), look_only=True) as run:
        drawn = [asdict(each) for each in run.read("training.rollouts", Rollout)]
        manifest = run.manifest("training")
    assert [json.loads(line) for line in Path("one/tables/training.rollouts.jsonl").read_text().splitlines()] == drawn
    assert list(Path("one/stages/tensorboard/spavl-reward-model").rglob("events.*"))
    teacher: Any = manifest.notes["reward_model"] if manifest else {}
    assert teacher["validations"][-1]["held_out"].keys() == {"loss", "accuracy", "margin"}


def stopped_at(run: str) -> int:
    with RunFolder(Path(run), look_only=True) as folder:
        return max(point.step for point in folder.read("training", CurvePoint))


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["false", "true"])
def test_several_processes_are_watched_and_stop_together(data: Path, shard: str) -> None:
    """In shards the model that answers is put together first."""
    with ChatServer(perverse) as server:
        seen = (
            "--validation.guard",
            f"openai/ward@{server.url}",
            "--validation.every",
            "2",
            "--validation.patience",
            "2",
        )
        words = ["dpo", *BASE, *FAST, "--epochs", "4", *seen, "--loop.shard"]
        two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "spavl"]
        environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
        command = [*two, "train", *words, shard, "--out", "two"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        assert spavl(*words, "false", "--out", "one") == 0
    assert stopped_at("one") == stopped_at("two") < 16, "they should have stopped early"
    one, other = (load_file(Path(run) / "checkpoints" / "aligned" / "model.safetensors") for run in ("one", "two"))
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


STEPS = [
    StepRecord(1, {"pairs": 8.0, "tokens": 100.0}),
    StepRecord(2, {"pairs": 4.0, "tokens": 1000.0, "tokens_read": 500.0}, 2.0),
]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The miniature as if it were on a GPU of a name, which is measured to do so much."""
    model, _ = new_dpo(steps=1)

    def on(name: str, *measured: float) -> tuple[Any, Any]:
        left = iter(measured)
        monkeypatch.setattr(monitoring, "measured_peak", lambda device, kind: next(left))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
        monkeypatch.setattr(type(model), "device", torch.device("cuda"))
        return model, Throughput(model, "float32")

    return on


def test_a_pace_is_what_went_through_against_what_could_have(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, one = gpu("NVIDIA Anything", 1e12)
    learnt, read = flops_per_token(model), 2 * monitoring._weights_per_token(model)
    pace = one.recent(STEPS)
    assert pace["pairs_per_second"] == 2.0 and pace["tokens_per_second"] == 500.0, (
        "steps of an earlier start do not count"
    )
    assert pace["model_flops_utilisation"] == round((1000 * learnt + 500 * read) / 2.0 / 1e12, 4)
    assert "2 pairs/s" in line_of(pace) and "MFU" in line_of(pace)
    monkeypatch.setenv("WORLD_SIZE", "2")
    several = gpu("NVIDIA Anything", (1000 * learnt + 500 * read) / 2.0)[1].recent(STEPS)["model_flops_utilisation"]
    assert several == 0.5, "tokens are those of all of them"


def test_no_utilisation_above_one_is_told_and_of_a_gpu_that_was_busy_at_the_start_what_it_did_later(gpu: Any) -> None:
    """The peak was once what a busy machine happened to do, and 124 to 483 % of it were told."""
    _, busy = gpu("NVIDIA Anything", 1e6, 1e12)
    pace = busy.recent(STEPS)
    assert "model_flops_utilisation" not in pace and "MFU" not in line_of(pace)
    ended = busy.overall(STEPS)
    assert ended.model_flops_utilisation and 0 < ended.model_flops_utilisation < 1
    assert ended.peak and "1 TFLOP/s of NVIDIA Anything, as measured" in ended.peak


def test_of_a_cpu_no_utilisation_is_told_and_it_is_said_why() -> None:
    model, _ = new_dpo(steps=1)
    told = Throughput(model, "float32").overall(STEPS)
    assert told.model_flops_utilisation is None and told.peak and told.peak.startswith("unknown for a CPU")
    assert "MFU" not in line_of(Throughput(model, "float32").recent(STEPS))


@pytest.mark.parametrize(
    ("name", "bf16", "single"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None, None),
        ("NVIDIA H100 80GB HBM3", 989e12, 67e12),
        ("NVIDIA H100 PCIe", 756e12, 51e12),
        ("NVIDIA H100 NVL", 835e12, 60e12),
        ("NVIDIA H200", 989e12, 67e12),
        ("NVIDIA H20", None, None),
        ("NVIDIA B200", 2250e12, 75e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 82.6e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None, None),
        ("NVIDIA GeForce RTX 4090 D", None, None),
        ("NVIDIA L40", None, None),
        ("", None, None),
    ],
)
def test_gpus_are_known_by_the_names_that_torch_gives_them(name: str, bf16: float, single: float) -> None:
    assert (peak_of(name, torch.bfloat16), peak_of(name, torch.float32)) == (bf16, single)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 60))
def test_a_sparkline_has_its_peak_where_the_values_have_theirs(values: list[float], most: int) -> None:
    line = sparkline(values, most)
    assert len(line) == min(most, len(values)) and set(line) <= set("▁▂▃▄▅▆▇█")
    if len(values) <= most and max(values) > min(values):
        assert line[values.index(max(values))] == "█" and line[values.index(min(values))] == "▁"


def test_a_curve_is_a_line_between_its_ends() -> None:
    points = [CurvePoint(step=k, name="loss", value=0.7 - k / 10) for k in range(5)]
    assert list(curve_lines(points)) == ["", "loss                   0.700  █▆▅▃▁  0.300"]
    assert not list(curve_lines(points[:1]))
