"""PPO: the policy is trained on its own answers, with the reward of an answer assigned to its tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from spavl.errors import InternalError
from spavl.records import Rollout, Sample
from spavl.stages.context import StageContext
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from spavl.training.config import SPEC, PPOConfig, TrainingConfig, check_ppo
from spavl.training.loop import distributed
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.heads import PolicyScorer
from spavl.training.objectives.microbatches import SampleOrder, chosen_of, samples_to_check
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.objectives.registry import Objective, ObjectiveInputs
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
from spavl.training.ppo.remote_sampler import RemoteSampler
from spavl.training.ppo.rewards import RewardInput, new_rewarder
from spavl.training.ppo.rollout_store import RolloutBatch, RolloutStore, write_rollouts
from spavl.training.ppo.rollouts import RolloutCollector, RolloutMicroBatch
from spavl.training.prefix_trees.batch import TreeBatch


class TokenCredit(NamedTuple):
    """The advantage and the return of each token of one answer."""

    advantages: list[float]
    returns: list[float]


class PPOBatch(NamedTuple):
    rows: TreeBatch
    # Which answer tokens were sampled; the others belong to chosen answers. The next five have sampled tokens only.
    sampled_T: Tensor
    old_logprob_T: Tensor
    reference_T: Tensor
    old_value_T: Tensor
    advantage_T: Tensor
    return_T: Tensor
    # Sums over the answers of this batch.
    reward: float
    kl: float
    kl_coef: float
    # The fraction of the rollout's answers that are in this batch.
    fraction: float
    # The totals of the whole step, of which this batch is a part.
    tokens: int
    chosen_tokens: int
    answers: int
    # Tokens that the model processed to sample and score these answers; zero if an earlier step did that.
    rollout_tokens: int


def _no_rewarder(answers: Sequence[RewardInput]) -> list[float]:
    raise InternalError("this objective was made without a rewarder, and a step asked for rewards")


class PPO(Objective[PPOBatch]):
    """Trains on rewards. `updates` steps in a row use the same sampled answers."""

    copies_weights: ClassVar[bool] = True
    module: PolicyScorer

    def __init__(self, inputs: ObjectiveInputs) -> None:
        config = inputs.settings
        check_ppo(config)
        self._settings, self.updates = config.ppo, config.ppo.updates
        self.module = PolicyScorer(inputs.model, critic=config.ppo.advantage == "gae")
        self._collector = RolloutCollector(self.module, inputs, inputs.rewarder or _no_rewarder)
        by_question = {(sample.blob, sample.question): sample for sample in inputs.samples}
        self._order = SampleOrder(
            list(by_question.values()), config.ppo.questions_per_step, config.epochs, inputs.seed, config.batch_by
        )
        self.steps = self._order.steps * self.updates
        self._store = RolloutStore(inputs.rollouts)
        self._turn, self._rollout, self._microbatches = -1, RolloutBatch(0.0, []), list[RolloutMicroBatch]()

    @classmethod
    def with_run(
        cls, inputs: ObjectiveInputs, context: StageContext[TrainingConfig], trained: Any, folder: Path
    ) -> ObjectiveInputs:
        sampler = None
        if uri := inputs.settings.ppo.sampler:
            weights = folder / "policies"
            sampler = RemoteSampler(uri, inputs.model, trained, inputs.processor, weights, inputs.image)
        return replace(inputs, rewarder=new_rewarder(context), rollouts=folder / "rollouts", sampler=sampler)

    @classmethod
    def validation_samples(cls, samples: Sequence[Sample], settings: TrainingConfig) -> Sequence[Sample]:
        """None, because PPO has no loss on pairs."""
        return ()

    def prepare(self, screen: Screen) -> PreparationNotes:
        with self._collector.computing():
            self._collector.batches.check(chosen_of(samples_to_check(self._order)))
        return PreparationNotes(questions=len(self._order.samples))

    def microbatches(self, number: int) -> MicroBatches[PPOBatch]:
        """The first of `updates` steps samples the answers; the others use them again."""
        turn, update = divmod(number, self.updates)
        samples = self._order.at(turn)
        if update == 0:
            self._rollout, self._microbatches = self._collector.collect(turn, samples, self._kl_coef(turn))
            if distributed.is_first():
                self._store.write(turn, self._rollout)
        elif self._turn != turn:
            # The training was stopped between two updates on these answers.
            self._rollout = self._store.read(turn)
            tokens = [answer.tokens for answer in self._rollout.answers]
            self._microbatches = self._collector.microbatches(samples, tokens)
        self._turn = turn
        credits = credits_of(self._rollout, self._settings)

        def batch_of(microbatch: RolloutMicroBatch) -> PPOBatch:
            return self._batch(microbatch, credits, is_new=update == 0)

        return MicroBatches(self._microbatches, batch_of)

    def _batch(self, microbatch: RolloutMicroBatch, credits: Sequence[TokenCredit], is_new: bool) -> PPOBatch:
        rollout, own = self._rollout, microbatch.of(self._rollout.answers)
        # Passes over each token: sampling, unless a server does that, and scoring by the policy and the reference.
        passes = 2 if self._collector.sampler else 3
        return PPOBatch(
            rows=microbatch.rows,
            sampled_T=microbatch.sampled_T,
            old_logprob_T=microbatch.tokens_of([each.logprobs for each in rollout.answers]),
            reference_T=microbatch.tokens_of([each.reference for each in rollout.answers]),
            old_value_T=microbatch.tokens_of([each.values for each in rollout.answers]),
            advantage_T=microbatch.tokens_of([each.advantages for each in credits]),
            return_T=microbatch.tokens_of([each.returns for each in credits]),
            reward=sum(each.reward for each in own),
            kl=sum(each.kl for each in own),
            kl_coef=rollout.kl_coef,
            fraction=len(own) / len(rollout.answers),
            tokens=sum(len(each.tokens) for each in rollout.answers),
            chosen_tokens=sum(each.chosen_tokens for each in self._microbatches),
            answers=len(rollout.answers),
            rollout_tokens=passes * microbatch.rows.tokens if is_new else 0,
        )

    def loss(self, module: Any, batch: PPOBatch) -> BatchLoss:
        all_logprob_T, all_value_T = module(batch.rows)
        sampled_T = batch.sampled_T.to(all_logprob_T.device)
        logprob_T, value_T, settings = all_logprob_T[sampled_T], all_value_T[sampled_T], self._settings
        policy = policy_loss(
            logprob_T, batch.old_logprob_T.to(logprob_T), batch.advantage_T.to(logprob_T), settings.clip_range
        )
        loss_T, metrics = policy.loss_T, _metrics(batch, len(logprob_T))
        metrics["clip_fraction"] = policy.clipped_T.sum().item() / batch.tokens
        if settings.advantage == "gae":
            value = value_loss(
                value_T, batch.old_value_T.to(value_T), batch.return_T.to(value_T), settings.value_clip_range
            )
            loss_T = loss_T + settings.value_loss_weight * value.loss_T
            metrics["value_loss"] = value.loss_T.sum().item() / batch.tokens
        else:
            loss_T = loss_T + batch.kl_coef * k3(logprob_T, batch.reference_T.to(logprob_T))
        total = loss_T.sum() / batch.tokens
        if settings.sft_weight:
            sft_loss = -all_logprob_T[~sampled_T].sum() / batch.chosen_tokens
            total, metrics["sft_loss"] = total + settings.sft_weight * sft_loss, sft_loss.item()
        return BatchLoss(total, metrics)

    def write_tables(self, run: RunFolder, steps: int) -> None:
        """All sampled answers, as a table of the run and as JSON lines."""
        write_rollouts(run, SPEC.stage, lambda: self.rollouts(steps))

    def rollouts(self, steps: int) -> Iterator[Rollout]:
        return self._store.rows(steps, self.updates)

    def _kl_coef(self, turn: int) -> float:
        settings = self._settings
        if turn == 0 or settings.kl_target is None:
            return settings.kl_coef
        last = self._rollout if self._turn == turn - 1 else self._store.read(turn - 1)
        kl = sum(answer.kl for answer in last.answers) / len(last.answers)
        return adapted_kl_coef(last.kl_coef, kl, settings.kl_target, len(last.answers), settings.kl_horizon)


def _metrics(batch: PPOBatch, sampled_tokens: int) -> dict[str, float]:
    return {
        "reward": batch.reward / batch.answers,
        "kl": batch.kl / batch.answers,
        "kl_coef": batch.kl_coef * batch.fraction,
        "answer_tokens": sampled_tokens / batch.answers,
        # The answers of a rollout count once, however many steps use them.
        "answers": round(batch.fraction * batch.answers) if batch.rollout_tokens else 0,
        "tokens": batch.rows.tokens,
        "tokens_read": batch.rollout_tokens,
    }


def credits_of(rollout: RolloutBatch, settings: PPOConfig) -> list[TokenCredit]:
    """The advantages and returns of each answer, token by token."""
    answers = rollout.answers
    rewards = [answer.reward - settings.missing_eos_penalty * (not answer.ended) for answer in answers]
    if settings.advantage == "group":
        return _group_credits(rollout, rewards, settings)
    by_token = [
        token_rewards(reward, answer.logprobs, answer.reference, rollout.kl_coef)
        for reward, answer in zip(rewards, answers, strict=True)
    ]
    if settings.whiten == "rewards":
        by_token = whiten_values(by_token, keep_mean=True)
    found = [
        advantages(own, answer.values, settings.gamma, settings.gae_lambda)
        for own, answer in zip(by_token, answers, strict=True)
    ]
    returns = [
        [advantage + value for advantage, value in zip(own, answer.values, strict=True)]
        for own, answer in zip(found, answers, strict=True)
    ]
    if settings.whiten == "advantages":
        found = whiten_values(found)
    return [TokenCredit(*each) for each in zip(found, returns, strict=True)]


def _group_credits(rollout: RolloutBatch, rewards: Sequence[float], settings: PPOConfig) -> list[TokenCredit]:
    """Each token has the advantage of its answer within the answers to one question."""
    size = settings.answers_per_question
    groups = [group_advantages(rewards[k : k + size], settings.scale_groups) for k in range(0, len(rewards), size)]
    by_answer = [advantage for group in groups for advantage in group]
    return [
        TokenCredit([advantage] * len(answer.tokens), answer.values)
        for advantage, answer in zip(by_answer, rollout.answers, strict=True)
    ]
