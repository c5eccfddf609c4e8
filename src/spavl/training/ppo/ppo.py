"""PPO: each token of the policy's answers gets its share of the credit for their rewards."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from spavl.records import Rollout, Sample
from spavl.terminal.progress import Screen
from spavl.training.config import PPOConfig, TrainingConfig, check_ppo
from spavl.training.loop import distributed
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.heads import PolicyScorer
from spavl.training.objectives.microbatches import SampleOrder, chosen_of, first_and_longest
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.ppo.advantages import (
    adapted,
    advantages,
    group_advantages,
    k3,
    policy_loss,
    rewards_of_tokens,
    value_loss,
    whitened,
)
from spavl.training.ppo.remote_sampler import RemoteSampler
from spavl.training.ppo.rewards import Rewarder
from spavl.training.ppo.rollout_store import RolloutRound, RolloutStore
from spavl.training.ppo.rollouts import RolloutCollector, RolloutMicroBatch
from spavl.training.prefix_trees.batch import TreeBatch


class TokenCredit(NamedTuple):
    """What the loss needs of each token of one answer."""

    advantages: list[float]
    returns: list[float]


class PPOBatch(NamedTuple):
    rows: TreeBatch
    # Which of the answers' tokens were drawn; the others are of chosen answers. What follows is of those drawn.
    drawn_T: Tensor
    old_T: Tensor
    reference_T: Tensor
    old_value_T: Tensor
    advantage_T: Tensor
    return_T: Tensor
    reward: float
    kl: float
    coefficient: float
    # Of the round's answers, how many are here.
    share: float
    # Of the whole step, of which this is a share.
    tokens: int
    chosen_tokens: int
    answers: int
    # How many went through the model to be drawn and scored for this step: none where an earlier one did that.
    tokens_read: int


class PPO:
    """What the loop needs to learn from rewards. `updates` steps in a row are taken on the same answers."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        samples: Sequence[Sample],
        image: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
        rewarder: Rewarder,
        rounds: Path,
    ) -> None:
        check_ppo(config)
        self._settings = config.ppo
        self.module = PolicyScorer(model, critic=config.ppo.advantage == "gae")
        self._answering = RolloutCollector(self.module, processor, image, config, seed, rewarder)
        asked = {(sample.blob, sample.question): sample for sample in samples}
        self._order = SampleOrder(
            list(asked.values()), config.ppo.questions_per_step, config.epochs, seed, config.batch_by
        )
        self.steps = self._order.steps * config.ppo.updates
        self._rounds = RolloutStore(rounds)
        self._turn, self._round, self._step_batches = -1, RolloutRound(0.0, []), list[RolloutMicroBatch]()

    def answer_from(self, server: RemoteSampler) -> None:
        """Have a server draw the answers, and not this process."""
        self._answering.server = server

    def prepare(self, screen: Screen) -> PreparationNotes:
        with self._answering.computing():
            self._answering.batches.check(chosen_of(first_and_longest(self._order)))
        return PreparationNotes(questions=len(self._order.samples))

    def passes(self, number: int) -> MicroBatches[PPOBatch]:
        turn, update = divmod(number, self._settings.updates)
        samples = self._order.at(turn)
        if update == 0:
            self._round, self._step_batches = self._answering.round(turn, samples, self._price(turn))
            if distributed.is_first():
                self._rounds.write(turn, self._round)
        elif self._turn != turn:
            self._round = self._rounds.read(turn)
            self._step_batches = self._answering.laid_out(samples, [answer.tokens for answer in self._round.answers])
        self._turn = turn
        credits = credits_of(self._round, self._settings)
        return MicroBatches(self._step_batches, lambda microbatch: self._batch(microbatch, credits, is_new=update == 0))

    def _batch(self, microbatch: RolloutMicroBatch, credits: Sequence[TokenCredit], is_new: bool) -> PPOBatch:
        made, here = self._round, microbatch.of(self._round.answers)
        # Drawn, if not by a server, and scored by the policy and its reference.
        times = 2 if self._answering.server else 3
        return PPOBatch(
            rows=microbatch.rows,
            drawn_T=microbatch.drawn_T,
            old_T=microbatch.tokens_of([each.logprobs for each in made.answers]),
            reference_T=microbatch.tokens_of([each.reference for each in made.answers]),
            old_value_T=microbatch.tokens_of([each.values for each in made.answers]),
            advantage_T=microbatch.tokens_of([each.advantages for each in credits]),
            return_T=microbatch.tokens_of([each.returns for each in credits]),
            reward=sum(each.reward for each in here),
            kl=sum(each.kl for each in here),
            coefficient=made.coefficient,
            share=len(here) / len(made.answers),
            tokens=sum(len(each.tokens) for each in made.answers),
            chosen_tokens=sum(each.chosen_tokens for each in self._step_batches),
            answers=len(made.answers),
            tokens_read=times * microbatch.rows.tokens if is_new else 0,
        )

    def rollouts(self, steps: int) -> Iterator[Rollout]:
        """All that was answered in the steps that were taken, as rows of the run."""
        return self._rounds.rows(steps, self._settings.updates)

    def loss(self, module: Any, batch: PPOBatch) -> BatchLoss:
        all_T, of_all_T = module(batch.rows)
        drawn_T = batch.drawn_T.to(all_T.device)
        logprob_T, value_T, settings = all_T[drawn_T], of_all_T[drawn_T], self._settings
        moved = policy_loss(logprob_T, batch.old_T.to(logprob_T), batch.advantage_T.to(logprob_T), settings.clip_range)
        loss_T = moved.loss_T
        metrics = {
            "reward": batch.reward / batch.answers,
            "kl": batch.kl / batch.answers,
            "kl_price": batch.coefficient * batch.share,
            "answer_tokens": len(logprob_T) / batch.answers,
            "clipped": moved.held_T.sum().item() / batch.tokens,
            # A round's answers count once, however many steps are taken on them.
            "answers": round(batch.share * batch.answers) if batch.tokens_read else 0,
            "tokens": batch.rows.tokens,
            "tokens_read": batch.tokens_read,
        }
        if settings.advantage == "gae":
            judged = value_loss(
                value_T, batch.old_value_T.to(value_T), batch.return_T.to(value_T), settings.value_clip_range
            )
            loss_T = loss_T + settings.value_loss_weight * judged.loss_T
            metrics["value_loss"] = judged.loss_T.sum().item() / batch.tokens
        else:
            loss_T = loss_T + batch.coefficient * k3(logprob_T, batch.reference_T.to(logprob_T))
        value = loss_T.sum() / batch.tokens
        if settings.sft_weight:
            surprise = -all_T[~drawn_T].sum() / batch.chosen_tokens
            value, metrics["chosen_surprise"] = value + settings.sft_weight * surprise, surprise.item()
        return BatchLoss(value, metrics)

    def _price(self, turn: int) -> float:
        settings = self._settings
        if turn == 0 or settings.kl_target is None:
            return settings.kl_coef
        before = self._round if self._turn == turn - 1 else self._rounds.read(turn - 1)
        went = sum(answer.kl for answer in before.answers) / len(before.answers)
        return adapted(before.coefficient, went, settings.kl_target, len(before.answers), settings.kl_horizon)


def credits_of(made: RolloutRound, settings: PPOConfig) -> list[TokenCredit]:
    """Every answer's share of the credit for its reward, token by token."""
    rewards = [answer.reward - settings.missing_eos_penalty * (not answer.ended) for answer in made.answers]
    if settings.advantage == "group":
        each = settings.answers_per_question
        groups = [group_advantages(rewards[k : k + each], settings.scale_groups) for k in range(0, len(rewards), each)]
        flat = [value for group in groups for value in group]
        return [
            TokenCredit([value] * len(answer.tokens), answer.values)
            for value, answer in zip(flat, made.answers, strict=True)
        ]
    paid = [
        rewards_of_tokens(reward, answer.logprobs, answer.reference, made.coefficient)
        for reward, answer in zip(rewards, made.answers, strict=True)
    ]
    if settings.whiten == "rewards":
        paid = whitened(paid, keep_mean=True)
    found = [
        advantages(own, answer.values, settings.gamma, settings.gae_lambda)
        for own, answer in zip(paid, made.answers, strict=True)
    ]
    returns = [
        [ahead + value for ahead, value in zip(own, answer.values, strict=True)]
        for own, answer in zip(found, made.answers, strict=True)
    ]
    if settings.whiten == "advantages":
        found = whitened(found)
    return [TokenCredit(*each) for each in zip(found, returns, strict=True)]
