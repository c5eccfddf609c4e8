"""PPO: the policy answers, the answers are rewarded, and each of their tokens gets its share of the credit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spavl.errors import ConfigError
from spavl.models.types import Picture, ask_about
from spavl.progress import Screen
from spavl.records import Rollout, Sample
from spavl.training.answers import Answer, Batches, Drawn
from spavl.training.batch import Batch
from spavl.training.config import PPOConfig, TrainingConfig
from spavl.training.heads import PolicyScorer
from spavl.training.loop import Loss
from spavl.training.order import Order, cut
from spavl.training.ppo_math import (
    adapted,
    advantages,
    group_advantages,
    k3,
    policy_loss,
    rewards_of_tokens,
    value_loss,
    whitened,
)
from spavl.training.rewards import Reply, Rewarder
from spavl.training.rollout import Prompt, draw, ends_of
from spavl.training.rounds import Answered, Round, Rounds
from spavl.training.scoring import by_answer, computing_in, in_places

_ROWS_DRAWN_AT_ONCE = 64


class Credit(NamedTuple):
    """What the loss needs of each token of one answer."""

    advantages: list[float]
    returns: list[float]


class PPOBatch(NamedTuple):
    rows: Batch
    old_T: Tensor
    reference_T: Tensor
    old_value_T: Tensor
    advantage_T: Tensor
    return_T: Tensor
    reward: float
    kl: float
    coefficient: float
    # Of the whole step, of which this is a share.
    tokens: int
    answers: int


class Beginning:
    """The weights as they were before the first step: what is trained is its own reference.

    Only what is trained has to be kept twice; with LoRA that is little.
    """

    def __init__(self, module: nn.Module) -> None:
        self._then = [(p, p.detach().clone()) for p in module.parameters() if p.requires_grad]

    @contextmanager
    def restored(self) -> Iterator[None]:
        now = [parameter.data for parameter, _ in self._then]
        for parameter, then in self._then:
            parameter.data = then
        try:
            yield
        finally:
            for (parameter, _), data in zip(self._then, now, strict=True):
                parameter.data = data


class PPO:
    """What the loop needs to learn from rewards. `updates` steps in a row are taken on the same answers."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        samples: Sequence[Sample],
        picture: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
        rewarder: Rewarder,
        rounds: Path,
    ) -> None:
        self._settings, self._config, self._seed = config.ppo, config, seed
        check(config)
        self.module = PolicyScorer(model, critic=config.ppo.advantage == "gae")
        self._beginning = Beginning(model)
        self._model, self._processor = model, processor
        self._batches = Batches(model, processor, picture, config.share)
        asked = {(sample.blob, sample.question): sample for sample in samples}
        self._order = Order(list(asked.values()), config.ppo.questions_per_step, config.epochs, seed)
        self._rounds = Rounds(rounds)
        self.steps = self._order.steps * config.ppo.updates
        self._rewarder = rewarder
        self._turn, self._round, self._rows = -1, Round(0.0, []), list[Batch]()

    def prepare(self, screen: Screen) -> dict[str, object]:
        first = self._order.samples[: self._settings.questions_per_step]
        with computing_in(self._config.loop.precision, self._model):
            self._batches.check([Answer(sample.blob, sample.question, sample.chosen) for sample in first])
        return {"questions": len(self._order.samples)}

    def passes(self, number: int) -> list[PPOBatch]:
        turn, update = divmod(number, self._settings.updates)
        samples = self._order.at(turn)
        if update == 0:
            self._round = self._answer(turn, samples)
        elif self._turn != turn:
            self._round = self._rounds.read(turn)
            self._rows = self._laid_out(samples, [answer.tokens for answer in self._round.answers])
        self._turn, made = turn, self._round
        credits = credits_of(made, self._settings)
        tokens, batches, first = sum(len(each.tokens) for each in made.answers), [], 0
        for rows in self._rows:
            here = slice(first, first := first + rows.answers)
            answers, shares = made.answers[here], credits[here]
            batches.append(
                PPOBatch(
                    rows=rows,
                    old_T=in_places([each.logprobs for each in answers], rows),
                    reference_T=in_places([each.reference for each in answers], rows),
                    old_value_T=in_places([each.values for each in answers], rows),
                    advantage_T=in_places([each.advantages for each in shares], rows),
                    return_T=in_places([each.returns for each in shares], rows),
                    reward=sum(each.reward for each in answers),
                    kl=sum(each.kl for each in answers),
                    coefficient=made.coefficient,
                    tokens=tokens,
                    answers=len(made.answers),
                )
            )
        return batches

    def rollouts(self, steps: int) -> Iterator[Rollout]:
        """All that was answered in the steps that were taken, as rows of the run."""
        return self._rounds.rows(steps, self._settings.updates)

    def loss(self, module: Any, batch: PPOBatch) -> Loss:
        logprob_T, value_T = module(batch.rows)
        settings = self._settings
        moved = policy_loss(logprob_T, batch.old_T.to(logprob_T), batch.advantage_T.to(logprob_T), settings.clip)
        loss_T = moved.loss_T
        metrics = {
            "reward": batch.reward / batch.answers,
            "kl": batch.kl / batch.answers,
            "kl_price": batch.coefficient * batch.rows.answers / batch.answers,
            "answer_tokens": len(batch.rows.token_T) / batch.answers,
            "clipped": moved.held_T.sum().item() / batch.tokens,
            "tokens": batch.rows.tokens,
        }
        if settings.advantage == "gae":
            judged = value_loss(value_T, batch.old_value_T.to(value_T), batch.return_T.to(value_T), settings.value_clip)
            loss_T = loss_T + settings.value_weight * judged.loss_T
            metrics["value_loss"] = judged.loss_T.sum().item() / batch.tokens
        else:
            loss_T = loss_T + batch.coefficient * k3(logprob_T, batch.reference_T.to(logprob_T))
        return Loss(loss_T.sum() / batch.tokens, metrics)

    @torch.no_grad()
    def _answer(self, turn: int, samples: Sequence[Sample]) -> Round:
        each = self._settings.answers_per_question
        asked = [sample for sample in samples for _ in range(each)]
        tokens = self._draw(turn, samples)
        texts = [text.strip() for text in self._processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
        rewards = self._rewarder([Reply(sample, text) for sample, text in zip(asked, texts, strict=True)])
        ends = ends_of(self._model, self._processor.tokenizer)
        if turn == 0 and self.module.head is not None:
            # Values start where rewards are, so that the critic need not learn their scale first.
            self.module.head.bias.fill_(sum(rewards) / len(rewards))
        self._rows = self._laid_out(samples, tokens)
        logprobs, reference, values = self._score()
        answers = [
            Answered(
                sample.question_id,
                sample.question,
                sample.harmful,
                texts[k],
                tokens[k],
                tokens[k][-1] in ends,
                rewards[k],
                logprobs[k],
                reference[k],
                values[k],
            )
            for k, sample in enumerate(asked)
        ]
        made = Round(self._price(turn), answers)
        self._rounds.write(turn, made)
        return made

    def _draw(self, turn: int, samples: Sequence[Sample]) -> list[tuple[int, ...]]:
        each = self._settings.answers_per_question
        prompts = [
            Prompt(
                self._batches.open(sample.blob),
                ask_about(
                    Picture(sample.blob, b""),
                    sample.question,
                    max_tokens=self._settings.max_tokens,
                    temperature=1.0,
                    seed=self._seed,
                    sample=turn * each,
                ),
            )
            for sample in samples
        ]
        at_once, drawn = max(1, _ROWS_DRAWN_AT_ONCE // each), list[tuple[int, ...]]()
        with computing_in(self._config.loop.precision, self._model):
            for first in range(0, len(prompts), at_once):
                drawn += draw(self._model, self._processor, prompts[first : first + at_once], each)
        return drawn

    def _score(self) -> tuple[list[list[float]], ...]:
        """What policy and reference find each token's log-probability to be, and its value."""
        found: tuple[list[list[float]], ...] = ([], [], [])
        for rows in self._rows:
            # Each under an autocast of its own, for one remembers the weights it has cast by their place.
            with computing_in(self._config.loop.precision, self._model):
                logprob_T, value_T = self.module(rows)
            with self._beginning.restored(), computing_in(self._config.loop.precision, self._model):
                reference_T, _ = self.module(rows)
            for values, values_T in zip(found, (logprob_T, reference_T, value_T), strict=True):
                values += by_answer(values_T, rows)
        return found

    def _laid_out(self, samples: Sequence[Sample], tokens: Sequence[tuple[int, ...]]) -> list[Batch]:
        """The answers to these questions as batches, in their order."""
        each = self._settings.answers_per_question
        drawn = {sample.id: tokens[k * each : (k + 1) * each] for k, sample in enumerate(samples)}

        def answers(part: Sequence[Sample]) -> list[Drawn]:
            return [Drawn(sample.blob, sample.question, text) for sample in part for text in drawn[sample.id]]

        parts = cut(samples, lambda part: self._batches.tokens(answers(part)), self._config.tokens_per_pass)
        return [self._batches.of(answers(part)) for part in parts]

    def _price(self, turn: int) -> float:
        settings = self._settings
        if turn == 0 or settings.kl_target is None:
            return settings.kl
        before = self._round if self._turn == turn - 1 else self._rounds.read(turn - 1)
        went = sum(answer.kl for answer in before.answers) / len(before.answers)
        return adapted(before.coefficient, went, settings.kl_target, len(before.answers), settings.kl_horizon)


def credits_of(made: Round, settings: PPOConfig) -> list[Credit]:
    """Every answer's share of the credit for its reward, token by token."""
    rewards = [answer.reward - settings.missing_end * (not answer.ended) for answer in made.answers]
    if settings.advantage == "group":
        each = settings.answers_per_question
        groups = [group_advantages(rewards[k : k + each], settings.scale_groups) for k in range(0, len(rewards), each)]
        flat = [value for group in groups for value in group]
        return [
            Credit([value] * len(answer.tokens), answer.values)
            for value, answer in zip(flat, made.answers, strict=True)
        ]
    paid = [
        rewards_of_tokens(reward, answer.logprobs, answer.reference, made.coefficient)
        for reward, answer in zip(rewards, made.answers, strict=True)
    ]
    if settings.whiten == "rewards":
        paid = whitened(paid, keep_mean=True)
    found = [
        advantages(own, answer.values, settings.gamma, settings.lam)
        for own, answer in zip(paid, made.answers, strict=True)
    ]
    returns = [
        [ahead + value for ahead, value in zip(own, answer.values, strict=True)]
        for own, answer in zip(found, made.answers, strict=True)
    ]
    if settings.whiten == "advantages":
        found = whitened(found)
    return [Credit(*each) for each in zip(found, returns, strict=True)]


def check(config: TrainingConfig) -> None:
    settings = config.ppo
    if settings.advantage == "group" and settings.answers_per_question < 2:
        then = "raise training.ppo.answers_per_question"
        raise ConfigError("an answer alone has no siblings", where="training.ppo.advantage", then=then)
    if config.loop.shard:
        then = "set training.loop.shard = false"
        raise ConfigError("a policy whose weights are spread cannot answer", where="training.loop.shard", then=then)
