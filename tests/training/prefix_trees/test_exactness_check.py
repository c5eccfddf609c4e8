"""The self-check before a training: what is right passes in any precision, and a single wrong place does not."""

import dataclasses
import random
from typing import Any

import pytest
import torch

from spavl.errors import TrainingError
from spavl.miniature.world import draw, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.training.objectives.microbatches import SampleOrder, samples_to_check
from spavl.training.prefix_trees import attention
from spavl.training.prefix_trees import batch as batches
from spavl.training.prefix_trees.attention import family_of
from spavl.training.prefix_trees.batch import lay_out
from spavl.training.prefix_trees.logprobs import answer_token_logprobs
from spavl.training.prefix_trees.startup_checks import InSinglePrecision, check_sharing
from spavl.training.prefix_trees.tree import PrefixTree, ScoredRow, TokenPath, grow
from tests.support.model_families import MAKERS, tiny
from tests.support.training_objectives import ANSWERS, new_dpo, sample
from tests.training.prefix_trees.test_tree import random_groups


def rows() -> list[ScoredRow]:
    """Two images, asked two questions with two answers each."""
    questions = ("how do i wake this ?", "in our play , how would a keeper lift this ?")
    return [
        ScoredRow(str(k), draw(scene(k, 0, 5, live=True)), question, answer)
        for k in range(2)
        for question in questions
        for answer in ANSWERS[:2]
    ]


def in_half() -> Any:
    return torch.autocast("cpu", torch.bfloat16)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def loaded(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype=request.param)
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return processor, model.train()


def test_what_is_right_moves_by_the_rounding_of_single_precision_in_all(loaded: tuple[Any, Any]) -> None:
    processor, model = loaded
    before = {name: (p.requires_grad, p.dtype, p.clone()) for name, p in model.named_parameters()}
    with in_half():
        moved = check_sharing(model, processor, rows())
    assert moved.scores < 1e-5 and moved.gradients is not None and moved.gradients < 1e-5
    assert model.is_gradient_checkpointing
    for name, parameter in model.named_parameters():
        trains, kind, value = before[name]
        assert parameter.grad is None and (parameter.requires_grad, parameter.dtype) == (trains, kind)
        assert torch.equal(parameter, value)


def one_place_late(paths: list[TokenPath]) -> PrefixTree:
    """Every token of an answer but the first sees as it should, and stands where the next one should."""
    tree = grow(paths)
    late = {place for path, places in zip(paths, tree.places, strict=True) for place in places[path.answer :]}
    return tree._replace(depths=[depth + (place in late) for place, depth in enumerate(tree.depths)])


def test_answers_that_stand_one_place_late_are_refused(
    loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In half precision it would pass for rounding."""
    monkeypatch.setattr(batches, "grow", one_place_late)
    with in_half(), pytest.raises(TrainingError, match=r"scores of a token by up to 0\.1"):
        check_sharing(loaded[1], loaded[0], rows())


def test_a_mask_that_hides_nothing_is_refused(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    processor, model = loaded
    wrong = family_of(model)._replace(mask=lambda model, seen: torch.ones_like(seen.visible_BTT[:, None]))
    monkeypatch.setattr(batches, "family_of", lambda model: wrong)
    with pytest.raises(TrainingError, match="share_prefixes = false"):
        check_sharing(model, processor, rows())


def test_right_scores_with_wrong_gradients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = attention._Reader.widen

    def forgets(self: Any, part: Any, given: Any, made: torch.Tensor) -> torch.Tensor:
        return right(self, part, given, made if self._place_N is None else made.detach())

    monkeypatch.setattr(attention._Reader, "widen", forgets)
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float32")
    with pytest.raises(TrainingError, match="gradients by"):
        check_sharing(model, processor, rows())


@pytest.mark.parametrize("kind", MAKERS)
def test_half_precision_is_widened_without_a_second_model(kind: str) -> None:
    made = tiny(kind, torch.bfloat16)
    groups = random_groups(random.Random(5), made, family_of(made.model).shares)
    batch = lay_out(made.model, family_of(made.model), groups, made.images(len(groups)))
    with torch.no_grad():
        half = answer_token_logprobs(made.model, batch)
        with InSinglePrecision():
            widened = answer_token_logprobs(made.model, batch)
        whole = answer_token_logprobs(made.model.float(), batch)
    assert (widened - whole).abs().max() < 1e-4 < (half - whole).abs().max()


def test_the_first_step_is_looked_at_and_the_sample_with_most_to_read() -> None:
    samples = [sample(k) for k in range(40)]
    samples[17] = dataclasses.replace(samples[17], rejected=ANSWERS[2] * 9)
    order = SampleOrder(samples, 4, 1, seed=3)
    found = samples_to_check(order)
    assert found[-1] is samples[17]
    assert found[:-1] == [each for each in order.at(0) if each is not samples[17]]


def test_a_task_refuses_to_begin_with_a_wrong_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    _, dpo = new_dpo(steps=1)
    monkeypatch.setattr(batches, "grow", one_place_late)
    with pytest.raises(TrainingError, match="scores"):
        dpo.step_batches.check()


def test_layers_that_carry_a_state_share_nothing() -> None:
    """A state runs through the rows in the order in which they lie."""
    model = tiny("llava", torch.float32).model
    model.config.text_config.layer_types = ["full_attention", "linear_attention", "full_attention"]
    assert attention.family_of(model).shares == "nothing" and "linear_attention" in attention.family_of(model).why


def test_a_models_source_is_not_read_again_for_every_batch(
    loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes 28 ms, which was two thirds of a training of the miniature."""
    _, model = loaded
    family_of(model)
    monkeypatch.setattr(attention.inspect, "getsource", lambda _: pytest.fail("read again"))
    assert family_of(model).shares != "nothing"
