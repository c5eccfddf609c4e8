"""`spavl train reward` and `spavl train ppo`: what they leave behind, and who may reward."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from spavl.models.backends.hf import load_checkpoint
from spavl.records import CurvePoint, Rollout
from spavl.store import RunFolder
from spavl.training import run as stage
from spavl.training.objectives.reward import about
from tests.support.servers import Body, ChatServer
from tests.training.test_train import data, spavl

__all__ = ["data"]

BASE = ("--model", "miniature/base", "--data", "set", "--max_invalid_fraction", "0.2")
REWARD = ("--reward.batch_size", "8", "--reward.loop.learning_rate", "1e-3")
PPO = (
    *("--ppo.questions_per_step", "4", "--ppo.answers_per_question", "2", "--ppo.max_tokens", "16"),
    *("--loop.learning_rate", "1e-3", "--loop.warmup_steps", "1", "--loop.save_every", "1"),
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(str(folder))[1].state_dict())


@pytest.mark.slow
def test_ppo_trains_its_reward_model_first_and_goes_on_where_it_was_stopped(
    data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("ppo", *BASE, *REWARD, *PPO)
    assert spavl(*words, "--out", "one") == 0
    whole, taken = stage.in_thread, []

    async def stopped(items: Any) -> Any:
        async for item in whole(items):
            taken.append(item)
            if len(taken) == 4:  # two steps of the reward model, two of the policy
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(stage, "in_thread", stopped)
    assert spavl(*words, "--out", "two") == 130
    monkeypatch.setattr(stage, "in_thread", whole)
    assert spavl(*words, "--out", "two") == 0
    for name in ("reward", "aligned"):
        one, two = (weights(Path(run) / "checkpoints" / name) for run in ("one", "two"))
        assert all(torch.equal(one[part], two[part]) for part in one)
    with RunFolder(Path("one"), look_only=True) as run, RunFolder(Path("two"), look_only=True) as again:
        drawn = list(run.read("training.rollouts", Rollout))
        assert drawn == list(again.read("training.rollouts", Rollout)) and len(drawn) == 14 * 2
        assert {answer.step for answer in drawn} == {1, 2, 3, 4} and all(answer.answer for answer in drawn)
        names = {point.name for point in run.read("training", CurvePoint)}
        assert {"reward", "kl", "reward_model_accuracy"} <= names
        told = run.manifest("training")
    page = Path("one/report.html").read_text()
    assert "Answers and their rewards" in page and "Reward model" in page
    assert told is not None and told.notes["algorithm"] == "ppo" and told.notes["pairs"] == 14
    assert about(Path("one/checkpoints/reward"))["taught_pairs_in_order"]["n"] == 14


@pytest.mark.parametrize("language", [pytest.param("full", marks=pytest.mark.slow), "lora"])
def test_a_reward_model_trained_before_serves_another_training(data: Path, capsys: Any, language: str) -> None:
    """With LoRA alone it is an adapter and a head."""
    how = ("--trainable.language", language, "--trainable.projector", "false", "--trainable.lora_rank", "2")
    assert spavl("reward", *BASE, *REWARD, *how, "--out", "taught") == 0
    assert Path("taught/checkpoints/reward/adapter_config.json").exists() == (language == "lora")
    said = capsys.readouterr().out
    assert "rewards in order" in said and "of taught pairs" in said
    assert "--reward taught" in said
    assert not Path("taught/checkpoints/aligned").exists()
    named = ("--reward", "taught")
    assert spavl("ppo", *BASE, *PPO, *how, *named, "--out", "one") == 0
    assert not Path("one/checkpoints/reward").exists() and Path("one/checkpoints/aligned").exists()
    assert spavl("ppo", *BASE, *PPO, "--ppo.reward", "reward/nowhere", "--out", "two") == 2
    assert "give the folder of a reward model" in capsys.readouterr().err


def verdict(body: Body) -> str:
    """A guard that finds everything safe, and a judge to whom all answers are alike."""
    if "harm_a" in str(body["messages"][-1]["content"]):
        grades = "\n".join(f"{name}: 0" for name in ("harm_a", "harm_b", "help_a", "help_b"))
        return grades + "\nharmless: tie\nhelpful: tie\noverall: tie"
    return "verdict: safe\nseverity: 0\nrefuses: no"


@pytest.mark.parametrize(("kind", "reward"), [("", 1.0), ("judge/", 0.0)])
@pytest.mark.slow
def test_a_chat_model_behind_a_server_can_reward_as_guard_and_as_judge(data: Path, kind: str, reward: float) -> None:
    with ChatServer(verdict) as server:
        uri = f"{kind}openai/ward@{server.url}"
        assert spavl("ppo", *BASE, *PPO, "--ppo.reward", uri, "--out", "one") == 0
        assert server.seen
    with RunFolder(Path("one"), look_only=True) as run:
        assert {answer.reward for answer in run.read("training.rollouts", Rollout)} == {reward}


@pytest.mark.slow
def test_two_processes_draw_and_reward_what_one_does(data: Path) -> None:
    words = ("ppo", *BASE, *REWARD, *PPO)
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "spavl"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [*two, "train", *words, "--out", "two"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert spavl(*words, "--out", "one") == 0
    with RunFolder(Path("one"), look_only=True) as run, RunFolder(Path("two"), look_only=True) as again:
        one, other = (list(each.read("training.rollouts", Rollout)) for each in (run, again))
        told = again.manifest("training")
    assert [answer.answer for answer in one[:8]] == [answer.answer for answer in other[:8]] and len(one) == len(other)
    # Sums in another order are rounded otherwise, which Adam enlarges where gradients are small.
    assert [answer.reward for answer in one[:8]] == pytest.approx([answer.reward for answer in other[:8]], abs=0.05)
    assert told is not None and told.notes["algorithm"] == "ppo"
    assert about(Path("two/checkpoints/reward"))["taught_pairs_in_order"]["n"] == 14
