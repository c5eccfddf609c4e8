"""What is seen of a model while it is trained, and what is made of it."""

import asyncio
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spavl.errors import TrainingError
from spavl.judges.guards.miniature_rules import RuleGuard
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.records import Sample
from spavl.statistics import wilson
from spavl.training.config import TrainableConfig, ValidationConfig
from spavl.training.loop.generation_eval import GenerationEval, SafetyRates, choose
from spavl.training.loop.loop import BatchLoss, Checkpoints
from spavl.training.loop.monitoring import HeldOutPairs, ValidationResult, Validator
from spavl.training.model.anatomy import blank_image
from spavl.training.model.trainable import prepare
from spavl.training.objectives.judge_inputs import TrainingJudgeInputs
from spavl.training.prefix_trees.logprobs import Scorer
from tests.support.training_objectives import new_dpo, sample


def questions() -> list[Sample]:
    """Of things that are alive, which it is harmful to wake, and of toys, which it is not."""
    return choose([replace(sample(k), harmful=k % 2 == 0, image_id=str(k)) for k in range(8)], 6)


def an_image(blob: str) -> bytes:
    return png(draw(scene(int(blob), 0, 5, live=int(blob) % 2 == 0)))


class Nine(NamedTuple):
    """A course of nine steps that is only looked at."""

    module: Scorer
    steps: int = 9

    def microbatches(self, number: int) -> list[None]:
        return []

    def loss(self, module: Any, batch: None) -> BatchLoss:
        raise AssertionError("it has no batches")


def new_watch(folder: Path) -> Validator:
    processor, model = load_checkpoint(miniature_checkpoint())
    model.train()
    cases = TrainingJudgeInputs(an_image, {str(k): scene(k, 0, 5, live=True).thing.noun for k in range(8)}, {})
    config = ValidationConfig(guard="rules/miniature", every=2)
    asking = GenerationEval(Scorer(model), model, processor, questions(), an_image, cases, RuleGuard(), 24)
    return Validator(Nine(Scorer(model)), Checkpoints(folder), config, asking)


def test_harmful_and_harmless_questions_in_equal_parts_each_once() -> None:
    twice = [*questions(), *questions()]
    assert [question.harmful for question in choose(twice, 6)] == [True, False] * 3
    assert choose(twice, 99) == choose(list(reversed(twice)), 99) and len(choose(twice, 99)) == 6


def test_where_it_is_not_known_what_is_harmful_any_question_may_be_answered_unsafely() -> None:
    """Published data sets do not say it."""
    unknown = [replace(each, harmful=None) for each in questions()]
    assert choose(unknown, 4) == sorted(unknown, key=lambda each: each.id)[:4]
    processor, model = load_checkpoint(miniature_checkpoint())
    cases = TrainingJudgeInputs(an_image, {str(k): scene(k, 0, 5, live=True).thing.noun for k in range(8)}, {})
    asking = GenerationEval(Scorer(model), model, processor, unknown, an_image, cases, RuleGuard(), 24)
    unsafe, refused = asyncio.run(asking.rates())
    assert unsafe.n == len(unknown) and not refused.n
    assert ValidationResult(0, unsafe, refused).error == unsafe.value and list(
        ValidationResult(0, unsafe, refused).metrics()
    ) == ["unsafe_rate"]


@pytest.mark.parametrize("most", [pytest.param(4, marks=pytest.mark.slow), 1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_look_that_does_not_fit_beside_the_training_is_taken_in_halves(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """A GPU that holds weights, gradients and moments has room for few answers at a time."""
    processor, model = load_checkpoint(miniature_checkpoint())
    cases = TrainingJudgeInputs(an_image, {str(k): scene(k, 0, 5, live=True).thing.noun for k in range(8)}, {})
    said, tried, generate = list[str](), list[int](), type(model).generate

    def asking() -> GenerationEval:
        made = GenerationEval(Scorer(model), model, processor, questions(), an_image, cases, RuleGuard(), 24)
        made.say = said.append
        return made

    def in_little_memory(self: Any, **inputs: Any) -> Any:
        tried.append(len(inputs["input_ids"]))
        if tried[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return generate(self, **inputs)

    expected = asyncio.run(asking().rates())
    monkeypatch.setattr(type(model), "generate", in_little_memory)
    looks = asking()
    if not most:
        with pytest.raises(TrainingError, match="not enough memory") as told:
            asyncio.run(looks.rates())
        assert "training.validation.max_tokens" in told.value.then and tried == [6, 3, 1]
        return
    assert asyncio.run(looks.rates()) == expected
    fit = [3] * 2 if most == 4 else [1] * 6
    assert tried == [6] + ([3] if most == 1 else []) + fit
    assert [line.rpartition(", so ")[2].split()[0] for line in said] == (["3"] if most == 4 else ["3", "1"])
    tried.clear()
    assert asyncio.run(looks.rates()) == expected and tried == fit, "it is remembered"


def test_questions_about_one_image_are_not_so_many_witnesses() -> None:
    processor, model = load_checkpoint(miniature_checkpoint())
    one = [replace(each, blob="0") for each in questions()]
    cases = TrainingJudgeInputs(an_image, {str(k): scene(k, 0, 5, live=True).thing.noun for k in range(8)}, {})
    asking = GenerationEval(Scorer(model), model, processor, one, an_image, cases, RuleGuard(), 24)
    unsafe, _ = asyncio.run(asking.rates())
    assert unsafe.n == 3 and (unsafe.low, unsafe.high) == (0, 1)


@pytest.mark.parametrize("max_tokens_per_microbatch", [8192, 90])
def test_what_is_held_out_has_the_loss_of_the_training_itself(max_tokens_per_microbatch: int) -> None:
    """Before a step a policy is its reference; pairs that it was taught it puts in order."""
    _, dpo = new_dpo(steps=2, batch_size=4, max_tokens_per_microbatch=max_tokens_per_microbatch)
    held_out = HeldOutPairs(dpo, "float32")
    assert held_out.metrics(dpo.module) == pytest.approx({"loss": math.log(2), "accuracy": 0.5, "margin": 0}, abs=1e-4)
    with torch.no_grad():
        dpo.module.model.lm_head.weight.mul_(1.1)
        moved = [dpo.loss(dpo.module, batch) for batch in dpo.microbatches(0)]
    assert held_out.metrics(dpo.module)["loss"] == pytest.approx(sum(loss.value.item() for loss in moved))
    assert ValidationResult(0, held_out={"loss": 0.5}).error == 0.5
    assert not any(parameter.grad is not None for parameter in dpo.module.parameters())


def test_a_look_says_what_the_base_model_does_and_is_the_same_the_next_time(tmp_path: Path) -> None:
    watch = new_watch(tmp_path)
    first, again = asyncio.run(watch.validate(0)), asyncio.run(watch.validate(2))
    assert first.unsafe_rate.value > 0.5, "the base model answers everything"
    assert first.unsafe_rate.n == first.over_refusal.n == 3
    assert again._replace(step=0) == first
    assert watch._task.module.model.training, "it is trained on afterwards"


def test_looks_of_an_earlier_start_are_not_taken_again(tmp_path: Path) -> None:
    before = new_watch(tmp_path)
    assert not asyncio.run(before.is_over(2)) and not asyncio.run(before.is_over(3))
    after = new_watch(tmp_path)
    assert after.results == before.results and len(after.results) == 1
    assert [after.is_due(step) for step in (2, 4, 5, 9)] == [False, True, False, True]


class Scripted:
    """Stands for a model whose answers are judged: at each look it is as harmful as was written."""

    def __init__(self, harms: Sequence[int]) -> None:
        self._harms = iter(harms)

    async def rates(self, weights: Any = None) -> SafetyRates:
        return SafetyRates(wilson(next(self._harms), 10), wilson(0, 10))


class Counting:
    """A course whose only weight is the number of its last step."""

    def __init__(self, steps: int) -> None:
        self.module, self.steps = nn.Linear(1, 1, bias=False), steps

    def microbatches(self, number: int) -> list[None]:
        return []

    def loss(self, module: Any, batch: None) -> BatchLoss:
        raise AssertionError("it has no batches")


def walked(folder: Path, harms: Sequence[int], settings: ValidationConfig) -> tuple[int, float]:
    """Where a training with these looks stops, and what weights it ends with."""
    task = Counting(settings.every * (len(harms) - 1))
    watch = Validator(task, Checkpoints(folder), settings, cast(GenerationEval, Scripted(harms)))
    step = 0
    for step in range(task.steps + 1):
        task.module.weight.data.fill_(step)
        if asyncio.run(watch.is_over(step)):
            break
    watch.restore_best()
    return step, task.module.weight.item()


@settings(max_examples=25)
@given(st.lists(st.integers(0, 10), min_size=2, max_size=8), st.integers(0, 3))
def test_the_best_look_is_kept_and_with_patience_it_stops_after_so_many_that_were_no_better(
    harms: list[int], patience: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stopped, kept = walked(
            Path(folder), harms, ValidationConfig(guard="rules/miniature", every=2, patience=patience)
        )
    lasts = [max(k for k in range(end + 1) if harms[k] == min(harms[: end + 1])) for end in range(len(harms))]
    hopeless = [end for end, last in enumerate(lasts) if patience and end - last >= patience]
    end = min([*hopeless, len(harms) - 1])
    assert (stopped, kept) == (2 * end, 2 * lasts[end])


def test_where_nobody_judges_and_nothing_is_waited_for_the_last_weights_stay(tmp_path: Path) -> None:
    assert walked(tmp_path, [0, 5], ValidationConfig(every=2)) == (2, 2.0)
    assert not (tmp_path / "best.weights").exists()


def test_a_look_is_not_remembered_before_its_weights_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two it looks again, and never takes for the best what it has not kept."""
    whole = Checkpoints.save_best

    def killed(states: Checkpoints, module: nn.Module) -> None:
        if module.weight.item() == 2:
            raise KeyboardInterrupt
        whole(states, module)

    monkeypatch.setattr(Checkpoints, "save_best", killed)
    with pytest.raises(KeyboardInterrupt):
        walked(tmp_path, [5, 3, 4], ValidationConfig(guard="rules/miniature", every=2))
    assert len((tmp_path / "validation.jsonl").read_text().splitlines()) == 1
    monkeypatch.setattr(Checkpoints, "save_best", whole)
    assert walked(tmp_path, [3, 4], ValidationConfig(guard="rules/miniature", every=2))[1] == 2


def test_the_best_weights_come_back(tmp_path: Path) -> None:
    model, dpo = new_dpo()
    states = Checkpoints(tmp_path)
    states.save_best(dpo.module)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0 if parameter.requires_grad else 0.0)
    states.load_best(dpo.module)
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())


def test_a_model_that_is_trained_in_bf16_can_be_watched(tmp_path: Path) -> None:
    """What learns is kept in wider numbers than what is frozen, and a model speaks with both."""
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="bfloat16")
    prepare(model, TrainableConfig(vision=1), image=partial(blank_image, processor))
    cases = TrainingJudgeInputs(an_image, {str(k): scene(k, 0, 5, live=True).thing.noun for k in range(8)}, {})
    asking = GenerationEval(Scorer(model), model, processor, questions(), an_image, cases, RuleGuard(), 24)
    assert asyncio.run(asking.rates()).unsafe_rate.value > 0.5
