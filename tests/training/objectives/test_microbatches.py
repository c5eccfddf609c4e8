"""A step is cut into passes by a budget of tokens, which changes memory and time and nothing else."""

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spavl.terminal.progress import Screen
from spavl.training.config import PPOConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, train
from spavl.training.objectives.microbatches import BatchMaker, pack_by_tokens
from spavl.training.objectives.registry import Objective, ObjectiveInputs, new_objective
from spavl.training.prefix_trees.batch import TreeBatch
from tests.support.training_objectives import sample
from tests.training.ppo.test_ppo import LOOP, an_image, loaded, warnings
from tests.training.ppo.test_ppo import sample as question_or_toy

# Of each sample its image and how many tokens its answers have; an image has ten.
steps = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 30)), min_size=1, max_size=20)


@given(steps, st.integers(1, 120), st.integers(1, 3))
def test_passes_hold_every_sample_once_and_are_even_and_within_the_budget(
    given: list[tuple[str, int]], most: int, among: int
) -> None:
    drawn = sorted(given)
    samples = [replace(sample(place), blob=blob) for place, (blob, _) in enumerate(drawn)]
    own = {each.id: length for each, (_, length) in zip(samples, drawn, strict=True)}

    def tokens(some: Any) -> int:
        return sum(own[each.id] for each in some) + 10 * len({each.blob for each in some})

    passes = pack_by_tokens(samples, tokens, most, among)
    places = {each.id: place for place, each in enumerate(samples)}
    assert sorted(places[each.id] for each in chain(*passes)) == list(range(len(samples)))
    assert all([places[each.id] for each in part] == sorted(places[each.id] for each in part) for part in passes)
    assert all(tokens(part) <= most or len(part) == 1 for part in passes)
    if len(passes) % among:
        together = pack_by_tokens(samples, tokens, most)
        assert len({each.blob for each in samples}) <= len(passes), "no image was left to be a pass of its own"
        assert len(passes) >= len(together)
    if tokens(samples) <= most and among == 1:
        assert len(passes) == 1


def test_a_pass_is_made_when_it_is_asked_for_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that each of many processes opens its own images alone."""
    made: list[int] = []
    right = BatchMaker.of

    def of(self: BatchMaker, answers: Any) -> TreeBatch:
        made.append(len(answers))
        return right(self, answers)

    for by in ("sft", "dpo", "reward"):
        task = new_task(by, tmp_path, 90)
        task.prepare(Screen())
        monkeypatch.setattr(BatchMaker, "of", of)
        passes = task.microbatches(0)
        assert len(passes) > 2 and not made
        _ = passes[1]
        assert len(made) == 1
        made.clear()
        monkeypatch.undo()


def new_task(by: str, folder: Path, most: int, **settings: Any) -> Objective[Any]:
    processor, model = loaded("float64")
    ppo = PPOConfig(questions_per_step=4, answers_per_question=2, max_tokens=8, **settings)
    config = TrainingConfig(algorithm=by, batch_size=6, max_tokens_per_microbatch=most, ppo=ppo, loop=LOOP)  # type: ignore[arg-type]
    return new_objective(
        ObjectiveInputs(
            model=model,
            processor=processor,
            samples=[question_or_toy(k) for k in range(12)],
            image=an_image,
            settings=config,
            seed=3,
            rewarder=warnings,
            rollouts=folder / "rollouts",
        )
    )


def weights(task: Objective[Any], folder: Path) -> tuple[Tensor, Tensor]:
    before = torch.cat([p.detach().flatten().clone() for p in task.module.parameters() if p.requires_grad])
    task.prepare(Screen())
    list(train(task, LOOP, Checkpoints(folder)))
    return before, torch.cat([p.detach().flatten() for p in task.module.parameters() if p.requires_grad])


@pytest.mark.parametrize(
    ("by", "settings"),
    [
        pytest.param("sft", {}, marks=pytest.mark.slow),
        ("dpo", {}),
        pytest.param("reward", {}, marks=pytest.mark.slow),
        pytest.param("ppo", {"updates": 2}, marks=pytest.mark.slow),
        pytest.param("ppo", {"advantage": "group"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_trained_weights_do_not_hang_on_the_budget(by: str, settings: dict[str, Any], tmp_path: Path) -> None:
    found = []
    for most in (8192, 90):
        task = new_task(by, tmp_path / str(most), most, **settings)
        if by != "ppo":
            task.prepare(Screen())
            assert (len(task.microbatches(0)) == 1) == (most == 8192)
        began, ended = weights(task, tmp_path / str(most))
        found.append(ended)
    moved = (found[0] - began).norm()
    assert (found[1] - found[0]).norm() < 1e-9 * moved
