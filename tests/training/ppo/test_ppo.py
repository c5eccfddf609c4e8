"""Learning from rewards: credit reaches its own tokens and no others, and a stopped training goes on as it was."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from spavl.errors import ConfigError
from spavl.judges.types import GuardVerdict
from spavl.miniature.world import draw, png, scene
from spavl.models.backends.hf import load_checkpoint
from spavl.models.factory import miniature_checkpoint
from spavl.records import Sample
from spavl.training.config import LoopConfig, PPOConfig, RewardConfig, TrainingConfig
from spavl.training.loop.loop import Checkpoints, StepRecord, train
from spavl.training.model.trainable import freeze_vision
from spavl.training.objectives.losses import bradley_terry
from spavl.training.objectives.microbatches import AnswerToScore, BatchMaker
from spavl.training.objectives.registry import ObjectiveInputs
from spavl.training.objectives.reward import Reward, RewardModel
from spavl.training.ppo import rollouts
from spavl.training.ppo.advantages import (
    adapted_kl_coef,
    advantages,
    group_advantages,
    k3,
    policy_loss,
    token_rewards,
    value_loss,
    whiten_values,
)
from spavl.training.ppo.ppo import PPO, PPOBatch, credits_of
from spavl.training.ppo.rewards import reward_of_verdict
from spavl.training.ppo.rollout_store import RolloutAnswer, RolloutBatch, RolloutStore
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, computing_in

# --- the mathematics

numbers = st.floats(-5, 5, width=32)
tokens = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)
shares = st.floats(0.1, 1.0)


def test_advantages_by_hand() -> None:
    """Two tokens, gamma 0.5 and lambda 0.5: the last one's error is 4 - 2, the first one's 1 + 0.5 * 2 - 3."""
    assert advantages([1.0, 4.0], [3.0, 2.0], gamma=0.5, lam=0.5) == pytest.approx([-1.0 + 0.25 * 2.0, 2.0])


@given(tokens)
def test_without_discount_an_advantage_is_what_is_still_to_come_less_its_value(
    given: list[tuple[float, float]],
) -> None:
    rewards, values = [reward for reward, _ in given], [value for _, value in given]
    ahead = [sum(rewards[k:]) - values[k] for k in range(len(rewards))]
    assert advantages(rewards, values, gamma=1.0, lam=1.0) == pytest.approx(ahead, abs=1e-4)


@given(tokens, shares)
def test_with_lambda_nothing_an_advantage_is_the_error_of_one_step(
    given: list[tuple[float, float]], gamma: float
) -> None:
    rewards, values = [reward for reward, _ in given], [*(value for _, value in given), 0.0]
    errors = [rewards[k] + gamma * values[k + 1] - values[k] for k in range(len(rewards))]
    assert advantages(rewards, values[:-1], gamma, lam=0.0) == pytest.approx(errors, abs=1e-4)


@given(tokens)
def test_a_policy_that_has_not_moved_has_the_ratio_one_and_nothing_is_clipped(given: list[tuple[float, float]]) -> None:
    logprob_T, advantage_T = torch.tensor(given).unbind(1)
    loss = policy_loss(logprob_T, logprob_T, advantage_T, clip=0.2)
    assert torch.equal(loss.loss_T, -advantage_T) and not loss.clipped_T.any()


@given(tokens, tokens, st.floats(0.05, 0.5))
def test_the_clip_never_widens_what_can_be_gained(
    given: list[tuple[float, float]], old: list[tuple[float, float]], clip: float
) -> None:
    size = min(len(given), len(old))
    logprob_T, advantage_T = torch.tensor(given[:size]).unbind(1)
    old_T = torch.tensor(old[:size])[:, 0]
    free_T = -advantage_T * (logprob_T - old_T).exp()
    clipped = policy_loss(logprob_T, old_T, advantage_T, clip)
    assert (clipped.loss_T >= free_T).all()
    assert (-clipped.loss_T <= advantage_T.abs() * (1 + clip) + 1e-5).all(), "no gain beyond the clip"


def test_a_token_beyond_the_clip_teaches_nothing_and_one_that_must_come_back_does() -> None:
    logprob_T = torch.tensor([1.0, 1.0], requires_grad=True)
    loss = policy_loss(logprob_T, torch.zeros(2), torch.tensor([1.0, -1.0]), clip=0.2)
    loss.loss_T.sum().backward()
    assert loss.clipped_T.tolist() == [True, False]
    assert logprob_T.grad is not None and logprob_T.grad[0] == 0 and logprob_T.grad[1] != 0


def test_value_loss_by_hand() -> None:
    """A value that moved by 1 towards its return of 2, of which 0.2 counts; and one that moved away from it."""
    loss = value_loss(torch.tensor([1.0, -1.0]), torch.zeros(2), torch.tensor([2.0, 2.0]), clip=0.2)
    assert loss.loss_T.tolist() == pytest.approx([0.5 * 1.8**2, 0.5 * 3.0**2])
    assert loss.clipped_T.tolist() == [True, False]


@given(tokens)
def test_the_estimate_of_divergence_is_never_negative_and_nothing_where_nothing_moved(
    given: list[tuple[float, float]],
) -> None:
    logprob_T, reference_T = torch.tensor(given).double().unbind(1)
    assert (k3(logprob_T, reference_T) >= -1e-9).all() and not k3(logprob_T, logprob_T).any()


@given(st.lists(numbers, min_size=2, max_size=9), st.booleans())
def test_the_advantages_of_a_group_sum_to_zero(rewards: list[float], scaled: bool) -> None:
    found = group_advantages(rewards, scaled)
    assert sum(found) == pytest.approx(0, abs=1e-5)
    assert all(
        (a > b) == (x > y)
        for a, x in zip(found, rewards, strict=True)
        for b, y in zip(found, rewards, strict=True)
        if abs(x - y) > 1e-3
    )


def test_a_group_of_like_rewards_has_nothing_to_teach() -> None:
    assert group_advantages([0.3, 0.3, 0.3 + 1e-12], scaled=True) == pytest.approx([0, 0, 0], abs=1e-9)


def test_whitened_values_have_a_spread_of_one_over_all_answers() -> None:
    flat = [value for each in whiten_values([[1.0, 2.0], [3.0, 6.0]]) for value in each]
    assert sum(flat) == pytest.approx(0) and sum(value**2 for value in flat) / 4 == pytest.approx(1)
    kept = [value for each in whiten_values([[1.0, 2.0], [3.0, 6.0]], keep_mean=True) for value in each]
    assert sum(kept) / 4 == pytest.approx(3.0)


def test_the_price_rises_where_answers_went_too_far_and_falls_where_they_stayed() -> None:
    assert adapted_kl_coef(0.1, kl=12.0, target=6.0, answers=100, horizon=1000) == pytest.approx(0.1 * 1.02)
    assert adapted_kl_coef(0.1, kl=0.0, target=6.0, answers=100, horizon=1000) == pytest.approx(0.1 * 0.98)
    assert adapted_kl_coef(0.1, kl=6.0, target=6.0, answers=100, horizon=1000) == 0.1


def answered(length: int, reward: float, ended: bool = True) -> RolloutAnswer:
    return RolloutAnswer(
        "q", "?", True, "…", (7,) * length, ended, reward, [-1.0] * length, [-1.0] * length, [0.0] * length
    )


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_reward_comes_with_the_last_token_of_its_own_answer(lengths: list[int]) -> None:
    """The paper's code put it into the last column of a padded table, beyond all but the longest answers."""
    made = RolloutBatch(0.1, [answered(length, float(k + 1)) for k, length in enumerate(lengths)])
    undiscounted, all_at_the_end = PPOConfig(), PPOConfig(gamma=0.5, gae_lambda=1.0)
    for k, credit in enumerate(credits_of(made, undiscounted)):
        assert credit.returns == pytest.approx([k + 1.0] * lengths[k]), "each token of an answer led to its reward"
    for k, credit in enumerate(credits_of(made, all_at_the_end)):
        assert credit.returns == pytest.approx([(k + 1.0) * 0.5 ** (lengths[k] - 1 - j) for j in range(lengths[k])])


def test_tokens_pay_for_leaving_the_reference_and_an_answer_for_being_cut_off() -> None:
    assert token_rewards(1.0, [-1.0, -2.0], [-2.0, -1.0], 0.1) == pytest.approx([-0.1, 1.1])
    made = RolloutBatch(0.0, [answered(2, 1.0), answered(2, 1.0, ended=False)])
    whole, cut_off = credits_of(made, PPOConfig(missing_eos_penalty=0.75))
    assert whole.returns[-1] == 1.0 and cut_off.returns[-1] == 0.25


# --- guards' words


def test_a_guards_word_as_a_reward() -> None:
    assert (
        reward_of_verdict(GuardVerdict("safe", False, ""), True)
        == reward_of_verdict(GuardVerdict("safe", True, ""), True)
        == 1
    )
    assert (
        reward_of_verdict(GuardVerdict("safe", True, ""), False)
        == reward_of_verdict(GuardVerdict("unsafe", False, ""), True)
        == -1
    )
    assert reward_of_verdict(GuardVerdict("invalid", False, ""), True) == -1, "garble must not pay"


# --- training

ANSWERS = ("sorry , i can not help .", "turn the knob one times .", "to wake the dax , turn the knob one times .")
LOOP = LoopConfig(learning_rate=1e-3, warmup_steps=1, save_every=1)


def an_image(blob: str) -> bytes:
    return png(draw(scene(int(blob) // 2, 0, 5, live=int(blob) % 2 == 0)))


def sample(number: int) -> Sample:
    """Of a live thing the refusal is chosen, of a toy the help."""
    live = number % 2 == 0
    ids = {name: f"{name}{number}" for name in ("image_id", "question_id", "preference_id")}
    return Sample(
        split="train",
        leaf="bully",
        blob=str(number),
        kind="easy",
        harmful=live,
        contrast="safety",
        question=f"how do i {('wake', 'lift', 'open')[number % 3]} this ?",
        chosen=ANSWERS[0] if live else ANSWERS[2],
        rejected=ANSWERS[2] if live else ANSWERS[0],
        chosen_model="one",
        rejected_model="two",
        **ids,
    )


def loaded(dtype: str = "float32") -> tuple[Any, Any]:
    processor, model = load_checkpoint(miniature_checkpoint(), dtype=dtype)
    freeze_vision(model)
    return processor, model.train()


def warnings(drawn: Any) -> list[float]:
    return [float(each.text.startswith("take care")) for each in drawn]


def new_inputs(model: Any, processor: Any, samples: int, config: TrainingConfig, **parts: Any) -> ObjectiveInputs:
    return ObjectiveInputs(
        model=model,
        processor=processor,
        samples=[sample(k) for k in range(samples)],
        image=an_image,
        settings=config,
        seed=3,
        **parts,
    )


def new_ppo(
    rollouts_folder: Path,
    epochs: int = 1,
    most: int = 8192,
    loop: LoopConfig = LOOP,
    dtype: str = "float32",
    **settings: Any,
) -> PPO:
    processor, model = loaded(dtype)
    ppo = PPOConfig(**{"questions_per_step": 3, "answers_per_question": 2, "max_tokens": 16, **settings})
    config = TrainingConfig(ppo=ppo, loop=loop, max_tokens_per_microbatch=most, epochs=epochs)
    return PPO(new_inputs(model, processor, 8, config, rewarder=warnings, rollouts=rollouts_folder))


def trained(task: PPO, folder: Path, stop_after: int | None = None) -> tuple[dict[str, Tensor], list[StepRecord]]:
    done = []
    for step in train(task, LOOP, Checkpoints(folder)):
        done.append(step)
        if step.number == stop_after:
            break
    return task.module.state_dict(), done


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"updates": 2, "kl_target": 1.0},
        pytest.param({"advantage": "group", "updates": 2}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_resumed_training_draws_and_learns_the_very_same(tmp_path: Path, settings: dict[str, Any]) -> None:
    unbroken = new_ppo(tmp_path / "a" / "rollouts", **settings)
    weights, _ = trained(unbroken, tmp_path / "a")
    # With two updates on the same answers the training is stopped between them.
    trained(new_ppo(tmp_path / "b" / "rollouts", **settings), tmp_path / "b", stop_after=1 if not settings else 3)
    resumed = new_ppo(tmp_path / "b" / "rollouts", **settings)
    again, _ = trained(resumed, tmp_path / "b")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert list(unbroken.rollouts(unbroken.steps)) == list(resumed.rollouts(resumed.steps))


def test_answers_that_do_not_fit_together_are_drawn_by_halves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer has dice of its own, so that they are the same answers."""
    whole, by_halves = new_ppo(tmp_path / "whole"), new_ppo(tmp_path / "halves")
    expected = trained(whole, tmp_path / "one", stop_after=1)[0]
    whole_batch, tried = rollouts.sample_answers, list[int]()

    def in_little_memory(model: Any, processor: Any, prompts: Any, each: int) -> Any:
        tried.append(len(prompts))
        if len(prompts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return whole_batch(model, processor, prompts, each)

    monkeypatch.setattr(rollouts, "sample_answers", in_little_memory)
    found = trained(by_halves, tmp_path / "two", stop_after=1)[0]
    assert tried == [3, 1, 1, 1]
    assert all(torch.allclose(found[name], value, atol=1e-6) for name, value in expected.items())


def test_the_first_step_starts_at_the_reference_and_values_start_where_rewards_are(tmp_path: Path) -> None:
    ppo = new_ppo(tmp_path)
    (batch,) = ppo.microbatches(0)
    assert torch.equal(batch.old_logprob_T, batch.reference_T) and batch.kl == 0
    assert torch.allclose(batch.old_value_T, torch.full_like(batch.old_value_T, batch.reward / batch.answers))
    assert ppo.loss(ppo.module, batch).metrics["clip_fraction"] == 0
    assert batch.rows.answers == 6 and len(batch.rows.inputs["pixel_values"]) == 3, "an image is there once"


def test_in_bfloat16_too_the_reference_stays_where_it_began(tmp_path: Path) -> None:
    """Autocast remembers the weights it has cast, by their place and not by what they hold."""
    loop = LOOP.model_copy(update={"precision": "bf16"})
    ppo = new_ppo(tmp_path / "rollouts", loop=loop, answers_per_question=8)
    for step in train(ppo, loop, Checkpoints(tmp_path)):
        if step.number + 1 == ppo.steps:
            break
    (batch,) = ppo.microbatches(ppo.steps - 1)
    _, untrained = loaded()
    with torch.no_grad(), computing_in("bf16", untrained):
        began_T = answer_token_logprobs(untrained, batch.rows)
    assert torch.equal(batch.reference_T.float(), began_T) and not torch.equal(batch.old_logprob_T, batch.reference_T)


def test_the_policys_scores_are_those_it_drew_by(tmp_path: Path) -> None:
    """Answers are scored as the tokens that were drawn, their end token among them."""
    ppo = new_ppo(tmp_path)
    (batch,) = ppo.microbatches(0)
    end = load_checkpoint(miniature_checkpoint())[0].tokenizer.eos_token_id
    rows = RolloutStore(tmp_path).read(0).answers
    assert all(answer.tokens[-1] == end for answer in rows if answer.ended) and any(answer.ended for answer in rows)
    lengths = batch.rows.answer_T.bincount().tolist()
    assert lengths == [len(answer.tokens) for answer in rows]


def test_credit_does_not_hang_on_who_shares_the_batch(tmp_path: Path) -> None:
    together, apart = new_ppo(tmp_path / "a"), new_ppo(tmp_path / "b", most=1)
    (whole,), parts = together.microbatches(0), apart.microbatches(0)
    assert len(parts) == 3

    def by_answer(batches: list[PPOBatch]) -> list[list[float]]:
        return [
            batch.return_T[batch.rows.answer_T == k].tolist() for batch in batches for k in range(batch.rows.answers)
        ]

    for one, other in zip(by_answer([whole]), by_answer(parts), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("advantage", ["gae", pytest.param("group", marks=pytest.mark.slow)])
def test_what_is_rewarded_becomes_more_frequent(tmp_path: Path, advantage: str) -> None:
    ppo = new_ppo(tmp_path / "rollouts", advantage=advantage, kl_coef=0.0, answers_per_question=8, epochs=5)
    _, steps = trained(ppo, tmp_path)
    first, last = (sum(step.metrics["reward"] for step in part) / 3 for part in (steps[:3], steps[-3:]))
    assert last > first + 0.2


@pytest.mark.parametrize("advantage", ["gae", "group"])
def test_chosen_answers_are_learnt_beside_rewards_and_take_no_part_in_them(tmp_path: Path, advantage: str) -> None:
    plain, anchored = (
        new_ppo(tmp_path / str(weight), dtype="float64", advantage=advantage, sft_weight=weight)
        for weight in (0.0, 0.5)
    )
    (one,), (other,) = plain.microbatches(0), anchored.microbatches(0)
    assert other.rows.answers == 6 + 3 and one.rows.answers == 6
    assert len(other.rows.inputs["pixel_values"]) == 3, "an image is there once, for drawn and chosen answers"
    ends = other.rows.token_T[~other.sampled_T] == load_checkpoint(miniature_checkpoint())[0].tokenizer.eos_token_id
    assert ends.sum() == 3, "of each question its chosen answer, to its end"
    told, also = plain.loss(plain.module, one), anchored.loss(anchored.module, other)
    assert {name: also.metrics[name] for name in told.metrics if "tokens" not in name} == pytest.approx(
        {name: value for name, value in told.metrics.items() if "tokens" not in name}, abs=1e-6
    )
    surprise = also.metrics["sft_loss"]
    assert also.value.item() == pytest.approx(told.value.item() + 0.5 * surprise, abs=1e-6) and surprise > 0


def test_a_group_needs_two_answers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="answers_per_question >= 2"):
        new_ppo(tmp_path, advantage="group", answers_per_question=1)


# --- the reward model


def new_reward(dtype: str = "float32", epochs: int = 1, **settings: Any) -> tuple[Any, Reward]:
    processor, model = loaded(dtype)
    config = TrainingConfig(reward=RewardConfig(batch_size=8, epochs=epochs, **settings)).for_reward_model()
    return processor, Reward(new_inputs(model, processor, 24, config))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8))
def test_swapping_chosen_and_rejected_flips_what_bradley_and_terry_say(given: list[tuple[float, float]]) -> None:
    chosen_P, rejected_P = torch.tensor(given).double().unbind(1)
    there, back = (
        bradley_terry(a, b, torch.zeros(len(a))) for a, b in ((chosen_P, rejected_P), (rejected_P, chosen_P))
    )
    assert torch.allclose((-there).exp() + (-back).exp(), torch.ones_like(there))


def test_a_sure_mistake_still_has_a_gradient() -> None:
    """The paper's code took log(sigmoid + 1e-5), which is flat there."""
    chosen_P = torch.tensor([-50.0], requires_grad=True)
    bradley_terry(chosen_P, torch.tensor([0.0]), torch.tensor([0.0])).sum().backward()
    assert chosen_P.grad is not None and chosen_P.grad.item() == pytest.approx(-1)


def test_a_reward_is_read_off_its_own_end_token_whoever_shares_the_batch(tmp_path: Path) -> None:
    processor, task = new_reward("float64")
    torch.nn.init.normal_(task.module.head.weight)
    model = RewardModel(task.module.eval(), processor, TrainingConfig(max_tokens_per_microbatch=70))
    answers = [AnswerToScore(str(k // 3), "how do i wake this ?", ANSWERS[k % 3]) for k in range(6)]
    together = model.score(answers, an_image)
    alone = [model.score([answer], an_image)[0] for answer in answers]
    assert together == pytest.approx(alone, abs=1e-6) and len(set(together)) == 6
    plain = RewardModel(task.module, processor, TrainingConfig(share_prefixes=False)).score(answers, an_image)
    assert together == pytest.approx(plain, abs=1e-6)
    assert math.isfinite(model.score([answers[0]._replace(text="")], an_image)[0])


@pytest.mark.slow
def test_a_reward_model_begins_with_no_opinion_learns_to_order_pairs_and_loads_again(tmp_path: Path) -> None:
    processor, task = new_reward(epochs=8)
    steps = list(train(task, LoopConfig(learning_rate=1e-3, warmup_steps=2), Checkpoints(tmp_path / "states")))
    assert steps[0].metrics["loss"] == pytest.approx(math.log(2)) and steps[0].metrics["accuracy"] == 0.5
    model = RewardModel(task.module, processor, TrainingConfig())
    assert sum(model.in_order(task.samples, an_image)) == len(task.samples)
    task.module.model.save_pretrained(tmp_path / "reward")
    processor.save_pretrained(tmp_path / "reward")
    task.save_beside(tmp_path / "reward", {})
    answers = [AnswerToScore("0", "how do i wake this ?", text) for text in ANSWERS]
    again = RewardModel.load(tmp_path / "reward", TrainingConfig())
    assert again.score(answers, an_image) == model.score(answers, an_image)
    with pytest.raises(ConfigError, match="no reward model"):
        RewardModel.load(tmp_path, TrainingConfig())


def test_answers_are_rewarded_within_the_budget_as_settings_share_and_after_a_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processor, task = new_reward("float64")
    answers = [AnswerToScore(str(k % 3), "how do i wake this ?", ANSWERS[k // 3]) for k in range(9)]
    seen: list[int] = []
    task.module.register_forward_pre_hook(lambda _, given: seen.append(given[0].tokens))
    looked: list[int] = []
    monkeypatch.setattr(BatchMaker, "check", lambda self, answers: looked.append(len(answers)))
    for settings in (
        TrainingConfig(max_tokens_per_microbatch=70),
        TrainingConfig(max_tokens_per_microbatch=70, share_prefixes=False),
    ):
        model = RewardModel(task.module, processor, settings)
        model.score(answers, an_image)
        model.score(answers, an_image)
    assert max(seen) <= 70 and len(seen) > 8
    assert looked == [8, 8], "each model once"


def test_a_margin_is_asked_for_by_the_grades_of_harm() -> None:
    _, task = new_reward(margin=0.5)
    task._harm_gaps = {each.id: 2.0 for each in task.samples}
    (batch,) = task.microbatches(0)
    assert batch.margin_P.tolist() == [1.0] * 8
    # No reward leads yet, so each pair misses its margin by all of it.
    assert task.loss(task.module, batch).value.item() == pytest.approx(math.log1p(math.exp(1.0)))
