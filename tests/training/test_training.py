"""Invariants of training: what must hold for any model and any data."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from spavl.errors import MissingExtra, TrainingError
from spavl.miniature.world import draw, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.training.config import LoopConfig, TrainableConfig, TrainingConfig
from spavl.training.loop.loop import BatchLoss, Checkpoints, learning_rate_at, train
from spavl.training.loop.monitoring import flops_per_token
from spavl.training.loop.trackers import tracking
from spavl.training.model.trainable import freeze_vision, frozen_dtype, prepare
from spavl.training.objectives.dpo import DPO, ReferenceCache, reference_name
from spavl.training.objectives.losses import PairScores, dpo_loss
from spavl.training.objectives.microbatches import AnswerToScore
from spavl.training.prefix_trees import logprobs
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.logprobs import answer_logprobs
from spavl.training.prefix_trees.tree import ScoredRow
from tests.support.training_objectives import ANSWERS, LOOP, new_dpo

four_logprobs = st.lists(st.floats(-80, 0), min_size=4, max_size=4).map(lambda values: torch.tensor(values).double())
betas = st.floats(0.01, 2.0)


@given(four_logprobs, four_logprobs, four_logprobs, four_logprobs, betas)
def test_swapping_chosen_and_rejected_flips_the_margin(a: Tensor, b: Tensor, c: Tensor, d: Tensor, beta: float) -> None:
    policy, reference, turned, turned_reference = PairScores(a, b), PairScores(c, d), PairScores(b, a), PairScores(d, c)
    there, back = dpo_loss(policy, reference, beta), dpo_loss(turned, turned_reference, beta)
    assert torch.allclose(there.margin_P, -back.margin_P)


@given(four_logprobs, four_logprobs, four_logprobs, four_logprobs)
def test_without_beta_the_loss_is_log_two(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> None:
    assert dpo_loss(PairScores(a, b), PairScores(c, d), beta=1e-12).loss_P.mean().item() == pytest.approx(math.log(2))


@given(four_logprobs, four_logprobs, betas)
def test_an_untrained_policy_has_no_margin(a: Tensor, b: Tensor, beta: float) -> None:
    result = dpo_loss(PairScores(a, b), PairScores(a, b), beta)
    assert result.loss_P.mean().item() == pytest.approx(math.log(2)) and not result.margin_P.any()


@given(four_logprobs, four_logprobs, four_logprobs, four_logprobs, betas)
def test_the_loss_is_the_textbook_one(a: Tensor, b: Tensor, c: Tensor, d: Tensor, beta: float) -> None:
    by_hand = [math.log1p(math.exp(-beta * ((w - x) - (y - z)))) for w, y, x, z in zip(a, b, c, d, strict=True)]
    assert dpo_loss(PairScores(a, b), PairScores(c, d), beta).loss_P.tolist() == pytest.approx(by_hand)


@given(st.integers(0, 499), st.integers(1, 500), st.integers(0, 50))
def test_the_learning_rate_stays_between_nothing_and_its_peak(step: int, steps: int, warmup: int) -> None:
    config = LoopConfig(learning_rate=1e-3, warmup_steps=warmup)
    assert 0 <= learning_rate_at(min(step, steps - 1), steps, config) <= 1e-3 * (1 + 1e-9)


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype="float64")
    return processor, model.eval()


def rows(number: int = 4) -> list[ScoredRow]:
    return [
        ScoredRow(
            str(k),
            draw(scene(k, 0, 5, live=k % 2 == 0)),
            "how do i wake this ?",
            ANSWERS[k % 3],
            "you are ward ." if k else None,
        )
        for k in range(number)
    ]


def test_a_row_is_scored_alike_alone_and_in_any_batch(loaded: tuple[Any, Any]) -> None:
    processor, model = loaded
    with torch.no_grad():
        together = answer_logprobs(model, make_batch(model, processor, rows()))
        alone = torch.cat([answer_logprobs(model, make_batch(model, processor, [row])) for row in rows()])
    # Double weights, but the model's own norms are in single precision.
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_score_is_that_of_the_plain_forward_pass(loaded: tuple[Any, Any]) -> None:
    """By the long way: every word's logits at every place, one row, no tricks."""
    processor, model = loaded
    row = rows(1)[0]
    batch = make_batch(model, processor, [row], share=False)
    with torch.no_grad():
        logprobs_TV = model(**batch.inputs).logits[0].log_softmax(-1)
        ids = batch.inputs["input_ids"][0]
        words = [*processor.tokenizer(row.answer)["input_ids"], processor.tokenizer.eos_token_id]
        start = len(ids) - len(words)
        assert ids[start:].tolist() == words, "the row must end with the answer and its end token"
        plain = sum(logprobs_TV[start - 1 + k, word] for k, word in enumerate(words))
        assert answer_logprobs(model, batch).item() == pytest.approx(float(plain), abs=1e-6)


def shared_rows() -> list[ScoredRow]:
    """Two images, asked several questions with two answers each; the second one under a system prompt."""
    questions = ("how do i wake this ?", "in our play , how would a keeper lift this ?")
    return [
        row._replace(question=question, answer=answer)
        for row in rows(2)
        for question in questions
        for answer in ANSWERS[:2]
    ]


def test_rows_of_one_image_are_scored_as_if_they_shared_nothing(loaded: tuple[Any, Any]) -> None:
    processor, model = loaded
    shared, plain = (make_batch(model, processor, shared_rows(), share) for share in (True, False))
    assert len(shared.inputs["pixel_values"]) == 2 and len(plain.inputs["pixel_values"]) == 8
    with torch.no_grad():
        assert torch.allclose(answer_logprobs(model, shared), answer_logprobs(model, plain), atol=1e-5)


def test_logits_made_in_pieces_are_those_made_at_once(loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    processor, model = loaded
    made = make_batch(model, processor, shared_rows())

    def grown() -> tuple[Tensor, Tensor]:
        model.zero_grad()
        scores = answer_logprobs(model, made)
        scores.square().sum().backward()
        return scores.detach(), model.lm_head.weight.grad.clone()

    at_once = grown()
    monkeypatch.setattr(logprobs, "_LOGITS_AT_ONCE", 7)
    for one, other in zip(at_once, grown(), strict=True):
        assert torch.allclose(one, other, rtol=1e-6)


def test_an_empty_answer_is_refused(loaded: tuple[Any, Any]) -> None:
    with pytest.raises(TrainingError, match="empty"):
        make_batch(loaded[1], loaded[0], [rows(1)[0]._replace(answer="")])


def test_only_the_vision_tower_is_frozen(loaded: tuple[Any, Any]) -> None:
    model = loaded[1]
    freeze_vision(model)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen and all("vision_tower" in name for name in frozen)
    assert not any(parameter.requires_grad for parameter in model.model.vision_tower.parameters())


def trained(model: nn.Module, dpo: DPO, state: Path, stop_after: int | None = None) -> dict[str, Tensor]:
    steps = train(dpo, LOOP, Checkpoints(state))
    for step in steps:
        if step.number == stop_after:
            break
    return model.state_dict()


def test_a_resumed_training_ends_with_the_very_same_weights(tmp_path: Path) -> None:
    unbroken = trained(*new_dpo(), tmp_path / "unbroken")
    trained(*new_dpo(), tmp_path / "broken", stop_after=3)  # its last saved state is step 2
    resumed = trained(*new_dpo(), tmp_path / "broken")
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


def test_the_first_step_of_dpo_starts_from_log_two_and_learns(tmp_path: Path) -> None:
    _, dpo = new_dpo(steps=12)
    steps = list(train(dpo, LOOP, Checkpoints(tmp_path)))
    assert steps[0].metrics["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert steps[-1].metrics["margin"] > 0.5


def test_the_anchor_adds_the_surprise_of_the_chosen_answers_and_nothing_else() -> None:
    _, plain = new_dpo()
    _, anchored = new_dpo(anchor=0.5)
    (batch,) = plain.microbatches(0)
    with torch.no_grad():
        chosen = [
            sample
            for sample in plain.samples
            if plain.reference.by_sample[sample.id][0] in batch.reference_B[:2].tolist()
        ]
        added = anchored.loss(anchored.module, batch).value - plain.loss(plain.module, batch).value
    assert added.item() > 0 and len(chosen) >= 2
    tokens = [len(sample.chosen.split()) + 1 for sample in chosen[:2]]
    surprise = -sum(plain.reference.by_sample[sample.id][0] for sample in chosen[:2]) / sum(tokens)
    assert added.item() == pytest.approx(0.5 * surprise, rel=1e-3)


def test_every_sample_is_seen_once_an_epoch() -> None:
    _, dpo = new_dpo()
    shown = torch.cat([batch.reference_B for number in range(dpo.steps) for batch in dpo.microbatches(number)])
    kept = torch.tensor([value for pair in dpo.reference.by_sample.values() for value in pair])
    assert torch.equal(shown.sort().values, kept.sort().values)


def test_references_are_scored_once_for_all_runs(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    file, (processor, _) = tmp_path / "references.sqlite", loaded
    _, first = new_dpo(cache=ReferenceCache(file, "one", processor))
    _, again = new_dpo(cache=ReferenceCache(file, "one", processor))
    _, other = new_dpo(cache=ReferenceCache(file, "another", processor))
    assert first.reference.missing == other.reference.missing == first.samples
    assert not again.reference.missing and again.reference.by_sample == first.reference.by_sample


def test_a_reference_is_found_again_by_its_tokens(tmp_path: Path) -> None:
    """White space round an answer is none of them; a mark that the template ends a turn with is one."""
    processor, _ = load_checkpoint(miniature_checkpoint())
    cache, answer = (
        ReferenceCache(tmp_path / "references.sqlite", "one", processor),
        AnswerToScore("0", "why ?", ANSWERS[0]),
    )
    cache.add({answer: -1.5})
    spaced = answer._replace(text=f" {ANSWERS[0]}\n")
    assert cache.cached_scores([answer, spaced]) == {answer: -1.5, spaced: -1.5}
    assert not cache.cached_scores([answer._replace(text=ANSWERS[1]), answer._replace(image="1")])
    processor.chat_template = processor.chat_template.replace("</s>", "<user>")
    assert not ReferenceCache(tmp_path / "references.sqlite", "one", processor).cached_scores([answer])


def test_in_bfloat16_a_reference_is_of_the_weights_that_were_widened_for_it() -> None:
    """LoRA runs were given the scores of a model that is trained whole, whose weights are in float32."""

    def name(precision: str, share: bool = True, **parts: Any) -> str:
        own = TrainableConfig(**parts)
        loop = LoopConfig(precision=precision)
        settings = TrainingConfig(trainable=own, loop=loop, share_prefixes=share)
        _, model = load_checkpoint(miniature_checkpoint(), dtype=frozen_dtype(settings))
        prepare(model, own)
        return reference_name(settings, model)

    lora = {"language": "lora", "projector": False}
    assert len({name("bf16"), name("bf16", **lora), name("bf16", language="lora"), name("bf16", share=False)}) == 4
    assert name("bf16", **lora) == name("bf16", **lora, lora_rank=2)
    assert len({name("float32"), name("float32", **lora), name("float32", share=False)}) == 1


def test_a_policy_that_does_not_begin_as_its_reference_is_refused(tmp_path: Path) -> None:
    _, dpo = new_dpo()
    moved = {id_: tuple(score - 0.1 for score in scores) for id_, scores in dpo.reference.by_sample.items()}
    dpo.reference.by_sample = moved
    with pytest.raises(TrainingError, match="scores of policy and reference differ"):
        list(train(dpo, LOOP, Checkpoints(tmp_path)))
    assert not list(tmp_path.glob("*.state"))


class Broken:
    """A course whose second step is no number."""

    def __init__(self) -> None:
        self.module, self.steps = nn.Linear(1, 1), 3

    def microbatches(self, number: int) -> list[float]:
        return [1.0, math.nan if number == 1 else 1.0]

    def loss(self, module: nn.Module, batch: float) -> BatchLoss:
        return BatchLoss(module(torch.full((1,), batch)).sum() / 2, {})


class Steep:
    """A course whose second step has a loss of nothing, and a slope without end."""

    def __init__(self) -> None:
        self.module, self.steps = nn.Linear(1, 1, bias=False), 3
        nn.init.ones_(self.module.weight)

    def microbatches(self, number: int) -> list[float]:
        return [0.0 if number == 1 else 1.0]

    def loss(self, module: nn.Module, batch: float) -> BatchLoss:
        return BatchLoss(module(torch.full((1,), batch)).sqrt().sum(), {})


def test_a_gradient_that_is_no_number_leaves_weights_and_states_as_they_were(tmp_path: Path) -> None:
    every = LOOP.model_copy(update={"save_every": 1})
    for _ in range(2):  # typed again it is stopped at the same step, and not by weights that were spoilt
        task = Steep()
        with pytest.raises(TrainingError, match=r"the norm of the gradient is (nan|inf)") as raised:
            list(train(task, every, Checkpoints(tmp_path)))
        assert "step 2" in str(raised.value) and task.module.weight.isfinite().all()
    assert [path.name for path in tmp_path.glob("*.state")] == ["step-00000001.state"]
    assert torch.load(tmp_path / "batch-of-step-2.pt", weights_only=False) == [0.0]


def test_a_loss_that_is_no_number_stops_the_training_and_its_batch_is_kept(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nan") as raised:
        list(train(Broken(), LOOP, Checkpoints(tmp_path)))
    assert "step 2" in str(raised.value)
    assert math.isnan(torch.load(tmp_path / "batch-of-step-2.pt", weights_only=False))


def test_curves_go_to_a_tracker_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), tracking("tensorboard", "spavl", tmp_path, {"rate": 1.0}) as trackers:
        for step in range(4):
            trackers.log({"grad_norm": 1.0}, step)
        raise KeyboardInterrupt  # however it ends, all is sent
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").rglob("events.*"))
    assert events.count(b"grad_norm") >= 4


def test_a_tracker_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match="pip install wandb"), tracking("wandb", "spavl", tmp_path, {}):
        pass


def test_the_work_of_a_token_is_twice_its_weights_forward_and_four_times_back(loaded: tuple[Any, Any]) -> None:
    model = loaded[1]
    freeze_vision(model)
    passed = sum(parameter.numel() for parameter in model.model.language_model.parameters())
    looked_up = model.get_input_embeddings().weight.numel()
    assert flops_per_token(model) == 6 * (passed - looked_up)
