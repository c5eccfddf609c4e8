"""A rehearsal tells of a training what the training then does."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from spavl.errors import ConfigError
from spavl.models.backends.hf import load_checkpoint
from spavl.records import CurvePoint, Sample
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from spavl.training.config import DPOConfig, LoopConfig, PPOConfig, TrainableConfig, TrainingConfig
from spavl.training.dry_run import estimate
from spavl.training.dry_run.estimate import MemoryEstimate, SpeedEstimate, TrainingEstimate, estimate_training
from spavl.training.dry_run.table import page
from spavl.training.prefix_trees.attention import ModelFamily
from spavl.training.prefix_trees.tree import TokenCount
from spavl.training.setup import CheckedSamples
from tests.training.test_train import FAST, data, spavl, write_data

__all__ = ["data"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set and a run on it; tests copy it."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SPAVL_CACHE", str(folder / "cache"))
        write_data(folder)
        words = ("--model", "miniature/base", "--data", "set", "--out", "one", "--max_invalid_fraction", "0.2", *FAST)
        assert spavl("dpo", *words) == 0
    return folder


@pytest.fixture
def trained(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with RunFolder(Path("one"), look_only=True) as run:
        return run


def rehearsed(run: RunFolder, **settings: Any) -> TrainingEstimate:
    samples = [sample for sample in run.read("dataset", Sample) if sample.split == "train"]
    config = TrainingConfig(**{"batch_size": 4} | settings)
    return estimate_training(config, samples, run.blobs.get, 0, Screen())


@pytest.mark.slow
def test_it_tells_what_the_training_then_does(trained: RunFolder, capsys: Any) -> None:
    told, held = rehearsed(trained), trained.manifest("training")
    assert held is not None and told.tokens is not None and told.speed is not None
    points = list(trained.read("training", CurvePoint))
    assert told.steps == len([point for point in points if point.name == "loss"])
    # Not an estimate: the very tokens that went through the model.
    assert told.tokens.tokens == sum(point.value for point in points if point.name == "tokens")
    assert told.checked.reasons == held.rejects
    assert {part: f"{free} of {total}" for part, (free, total) in told.parameters.items()} == held.notes["parameters"]
    assert told.speed.preparing == 0, "this run has scored the reference before"
    plain = rehearsed(trained, share_prefixes=False, dpo=DPOConfig(beta=0.2)).tokens
    assert plain is not None and plain.tokens == plain.plain_tokens == told.tokens.plain_tokens


@pytest.mark.slow
def test_it_tells_what_a_step_holds_and_of_how_many_independent_pairs_that_is_worth(trained: RunFolder) -> None:
    """Of fourteen pairs that are taught, two about each image: seven images in four steps."""
    whole, single = rehearsed(trained), rehearsed(trained, batch_by="pairs")
    assert whole.of_step == (3.5, 1.75, 2.0) and whole.noise_correlation is not None and 0 < whole.noise_correlation < 1
    assert whole.of_step.independent_pairs(whole.noise_correlation) == pytest.approx(
        3.5 / (1 + whole.noise_correlation)
    )
    assert single.of_step is not None and single.of_step.images > 2
    told = " ".join(" ".join(page(whole)).split())
    assert "of 3.5 pairs about 1.75 images on average" in told and "independent pairs" in told
    assert f"correlate by {whole.noise_correlation:.2f}" in told and "--batch_by pairs" in told


@pytest.mark.slow
def test_memory_is_that_of_the_parts_that_learn(trained: RunFolder) -> None:
    whole, thin = (
        rehearsed(trained),
        rehearsed(trained, trainable=TrainableConfig(language="lora", lora_rank=2, projector=False)),
    )
    for each in (whole, thin):
        free = sum(free for free, _ in each.parameters.values())
        assert each.memory.gradients == 4 * free and each.memory.optimizer == 8 * free
        assert each.memory.weights >= 4 * sum(total for _, total in each.parameters.values())
    assert thin.memory.bytes_needed < whole.memory.bytes_needed
    again = rehearsed(trained, loop=LoopConfig(gradient_checkpointing=True))
    assert whole.memory.activations and again.memory.activations
    assert again.memory.activations < whole.memory.activations / 2


def test_measuring_leaves_the_model_as_it_was(trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    processor, model = load_checkpoint(str(Path("one/checkpoints/aligned")), dtype="float32")
    before = {name: values.clone() for name, values in model.state_dict().items()}
    monkeypatch.setattr(estimate, "load", lambda *given: (processor, model.train()))
    assert rehearsed(trained).speed is not None
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())


def test_what_nobody_reads_is_told_before_anything_is_scored(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """It was found in step 1 of the training, and a dry run passed."""
    processor, model = load_checkpoint(str(Path("one/checkpoints/aligned")), dtype="float32")
    model.model.language_model.layers[0].indexer = torch.nn.Linear(4, 4)
    monkeypatch.setattr(estimate, "load", lambda *given: (processor, model.train()))
    free, total = rehearsed(trained).parameters["language"]
    assert total - free == 20
    told = " ".join(capsys.readouterr().err.split())
    assert "2 parameters to be trained are not used by the model and stay frozen" in told and "indexer.bias" in told


def test_a_model_that_is_too_large_is_told_and_not_loaded(trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_available", lambda: 1000)
    monkeypatch.setattr(estimate, "load", lambda *given: pytest.fail("it was loaded"))
    told = rehearsed(trained)
    assert told.speed is None and told.tokens is not None
    lines = list(page(told))
    assert any("Too much" in line for line in lines) and "time        not measured, because it does not fit" in lines


@pytest.mark.parametrize("by", ["dpo", pytest.param("sft", marks=pytest.mark.slow)])
def test_a_dry_run_writes_nothing(by: str, data: Path, capsys: Any) -> None:
    there = sorted(path for path in Path().rglob("*"))
    assert spavl(by, "--model", "miniature/base", "--data", "set", "--dry-run", *FAST) == 0
    told = capsys.readouterr().out
    assert "This is more than max_invalid_fraction (0.05): training would not start." in told
    assert "Nothing was written." in told and "1 special_token" in told and "measured on" in told
    assert sorted(path for path in Path().rglob("*") if "cache" not in path.parts) == there


@pytest.mark.parametrize("by", ["dpo", "ppo"])
@pytest.mark.slow
def test_of_several_processes_the_first_one_tells_of_all(
    by: str, data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--ppo.questions_per_step", "4", "--ppo.answers_per_question", "2", "--ppo.max_tokens", "8")
    words = (by, "--model", "miniature/base", "--data", "set", "--dry-run", *(few if by == "ppo" else FAST))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert spavl(*words) == 0 and not capsys.readouterr().out
    monkeypatch.setenv("RANK", "0")
    assert spavl(*words) == 0
    told = capsys.readouterr().out
    assert "for each of 2 processes" in told and "for all steps, which 2 processes share" in told


@pytest.mark.slow
def test_in_shards_each_process_holds_its_share(trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rehearsed(trained).memory
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert rehearsed(trained).memory.optimizer == whole.optimizer
    shards = rehearsed(trained, loop=LoopConfig(shard=True)).memory
    for share, all_ in zip(shards[:3], whole[:3], strict=True):
        assert share is not None and all_ is not None and 4 * share - 4 < all_ <= 4 * share


def test_a_policy_that_is_too_large_is_sent_to_lora(trained: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_available", lambda: 1000)
    lines = "\n".join(page(rehearsed(trained, algorithm="ppo", ppo=PPOConfig(max_tokens=8))))
    assert "--preset spa-vl-ppo-lora" in lines and "--ppo.sampler" in lines
    assert "--loop.shard true" in "\n".join(page(rehearsed(trained)))
    with pytest.raises(ConfigError, match="PPO does not support sharded") as told:
        rehearsed(trained, algorithm="ppo", ppo=PPOConfig(max_tokens=8), loop=LoopConfig(shard=True))
    assert "spa-vl-ppo-lora" in told.value.then


def test_a_page_for_people() -> None:
    settings = TrainingConfig(model="hf/llava-hf/llava-1.5-7b-hf")
    checked = CheckedSamples([], {}, [])
    told = TrainingEstimate(
        settings,
        {"vision": (0, 303_507_456), "projector": (20_979_712, 20_979_712), "language": (6_738_415_616, 6_738_415_616)},
        checked,
        10_842,
        ModelFamily("image", ""),
        TokenCount(47_300_000, 31_000, 151_360_000, 173_460),
        MemoryEstimate(27 * 10**9, 27 * 10**9, 54 * 10**9, 3 * 10**9, 160 * 10**9, 4000),
        SpeedEstimate("an H100", 3, 2.31, 1890.4, 4320.0, 25_045.0),
    )
    lines = list(page(told))
    assert "vision             0 of    304 M parameters trained   frozen" in lines
    assert "language      6.74 B of   6.74 B parameters trained   all" in lines
    assert any("3.20 times fewer tokens" in line for line in lines)
    assert "time        2.3 s a step, 1,890 tokens/s, measured on 3 steps on an H100" in lines
    assert "            1 h 12 min to score the reference, which is cached for every later run" in lines
    assert "            6 h 57 min for all steps" in lines
    assert any("+ a micro-batch of 4,000 tokens 3.0 GB" in line for line in lines)
    assert "            A micro-batch of about 55,000 tokens would fit: --max_tokens_per_microbatch." in lines


def test_a_policys_own_answers_are_drawn_and_timed_before_they_are_learnt_from(data: Path, capsys: Any) -> None:
    words = (
        "ppo",
        "--model",
        "miniature/base",
        "--data",
        "set",
        "--max_invalid_fraction",
        "0.2",
        "--ppo.kl_target",
        "3",
    )
    few = ("--ppo.questions_per_step", "4", "--ppo.answers_per_question", "2", "--ppo.max_tokens", "8")
    there = sorted(path for path in Path().rglob("*"))
    assert spavl(*words, *few, "--ppo.updates", "2", "--dry-run") == 0
    told = capsys.readouterr().out
    assert "a step with its current answers" in told and "measured on 3 steps" in told
    assert "steps       8 of 4 questions with 2 answers each" in told and "for all steps" in told
    assert "spavl train reward --dry-run" in told
    assert sorted(path for path in Path().rglob("*") if "cache" not in path.parts) == there
