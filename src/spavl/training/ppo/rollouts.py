"""A round of answers: the policy is asked, its answers are rewarded, and scored beside its reference's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spavl.models.chat_template import ends_of
from spavl.models.memory import AdaptiveBatch
from spavl.models.types import ImageData, Request, ask_about
from spavl.records import Sample
from spavl.training.config import TrainingConfig
from spavl.training.loop import distributed
from spavl.training.objectives.heads import PolicyScorer
from spavl.training.objectives.microbatches import AnswerToScore, BatchMaker, SampledAnswer, chosen_of, cut
from spavl.training.ppo.remote_sampler import RemoteSampler
from spavl.training.ppo.rewards import Rewarder, RewardInput
from spavl.training.ppo.rollout_store import RolloutAnswer, RolloutRound
from spavl.training.ppo.sampling import SamplingPrompt, draw
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import answer_lengths, by_answer, computing_in, in_places

_ROWS_DRAWN_AT_ONCE = 64
_WITHOUT_MEMORY = (
    "lower training.ppo.answers_per_question or training.ppo.max_tokens, or have a server draw: training.ppo.sampler"
)
Tokens = tuple[int, ...]


class WeightSnapshot:
    """The weights as they were at a time. Those before the first step are the reference.

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


class RolloutMicroBatch:
    """Answers of a round that go through the model at once, by their places in it; chosen ones may come after them."""

    def __init__(
        self, batches: BatchMaker, answers: Sequence[AnswerToScore | SampledAnswer], places: list[int]
    ) -> None:
        self._batches, self._answers, self.places = batches, answers, places

    @cached_property
    def rows(self) -> TreeBatch:
        """Made where it is asked for: a process makes its own alone."""
        return self._batches.of(self._answers)

    @cached_property
    def chosen_tokens(self) -> int:
        return self._batches.spoken_tokens(self._answers[len(self.places) :])

    @property
    def drawn_T(self) -> Tensor:
        return self.rows.answer_T < len(self.places)

    def of(self, values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in self.places]

    def tokens_of(self, values: Sequence[Sequence[float]]) -> Tensor:
        """What each token drawn here has, of values for every answer of the round."""
        chosen = [[0.0] * length for length in answer_lengths(self.rows).tolist()[len(self.places) :]]
        return in_places([*self.of(values), *chosen], self.rows)[self.drawn_T]


class RolloutScores(NamedTuple):
    """What policy and reference find the log-probabilities of an answer's tokens to be, and their values."""

    logprobs: list[float]
    reference: list[float]
    values: list[float]


class RolloutCollector:
    """Asks a policy, so often each question, and has its answers rewarded."""

    def __init__(
        self,
        scorer: PolicyScorer,
        processor: Any,
        image: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
        rewarder: Rewarder,
    ) -> None:
        self._scorer, self._processor = scorer, processor
        self.batches = BatchMaker(scorer.model, processor, image, config.share_prefixes)
        self._beginning = WeightSnapshot(scorer.model)
        self.server: RemoteSampler | None = None
        # The weights that a server has, and those that drew this round where they are not the present ones.
        self._published = self._beginning if config.ppo.publish_every == 0 else None
        self._drew: WeightSnapshot | None = None
        self._together = AdaptiveBatch(max(1, _ROWS_DRAWN_AT_ONCE // config.ppo.answers_per_question), "the policy")
        self._config, self._each, self._seed, self._rewarder = config, config.ppo.answers_per_question, seed, rewarder

    def computing(self) -> Any:
        """What the loop computes in."""
        return computing_in(self._config.loop.precision, self._scorer.model)

    @torch.no_grad()
    def round(self, turn: int, samples: Sequence[Sample], price: float) -> tuple[RolloutRound, list[RolloutMicroBatch]]:
        asked = [sample for sample in samples for _ in range(self._each)]
        tokens = self._draw(turn, samples)
        texts = [text.strip() for text in self._processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
        rewards = self._rewarder([RewardInput(sample, text) for sample, text in zip(asked, texts, strict=True)])
        ends = ends_of(self._scorer.model, self._processor)
        if turn == 0 and self._scorer.head is not None:
            # Values start where rewards are, so that the critic need not learn their scale first.
            self._scorer.head.bias.fill_(sum(rewards) / len(rewards))
        step_batches = self.laid_out(samples, tokens)
        scores = self._score(step_batches)
        answers = [
            RolloutAnswer(
                question_id=sample.question_id,
                question=sample.question,
                harmful=sample.harmful,
                text=texts[k],
                tokens=tokens[k],
                ended=tokens[k][-1] in ends,
                reward=rewards[k],
                **scores[k]._asdict(),
            )
            for k, sample in enumerate(asked)
        ]
        return RolloutRound(price, answers), step_batches

    def laid_out(self, samples: Sequence[Sample], tokens: Sequence[Tokens]) -> list[RolloutMicroBatch]:
        """The answers to these questions, in portions."""
        first = {sample.id: k * self._each for k, sample in enumerate(samples)}

        def places(some: Sequence[Sample]) -> list[int]:
            return [first[sample.id] + k for sample in some for k in range(self._each)]

        def answers(some: Sequence[Sample]) -> list[AnswerToScore | SampledAnswer]:
            asked = [sample for sample in some for _ in range(self._each)]
            drawn = [SampledAnswer(s.blob, s.question, tokens[k]) for s, k in zip(asked, places(some), strict=True)]
            return [*drawn, *(chosen_of(some) if self._config.ppo.sft_weight else ())]

        def length(some: Sequence[Sample]) -> int:
            return self.batches.tokens(answers(some))

        step_batches = cut(samples, length, self._config.max_tokens_per_microbatch, distributed.how_many())
        return [RolloutMicroBatch(self.batches, answers(some), places(some)) for some in step_batches]

    def _draw(self, turn: int, samples: Sequence[Sample]) -> list[Tokens]:
        prompts = [
            ask_about(
                ImageData(sample.blob, b""),
                sample.question,
                max_tokens=self._config.ppo.max_tokens,
                temperature=1.0,
                seed=self._seed,
                sample=turn * self._each,
            )
            for sample in samples
        ]
        if self.server is None:
            return [tokens for drawn in distributed.spread(prompts, self._drawn) for tokens in drawn]
        return self._served(turn, prompts, self.server)

    def _served(self, turn: int, prompts: Sequence[Request], server: RemoteSampler) -> list[Tokens]:
        every = self._config.ppo.publish_every
        is_fresh = every > 0 and (turn % every == 0 or self._published is None)
        if is_fresh and every > 1:
            self._published = WeightSnapshot(self._scorer.model)
        self._drew = None if is_fresh else self._published

        def ask() -> list[Tokens]:
            if is_fresh:
                server.publish(turn)
            return server.draw(prompts, self._each)

        return distributed.told_by_first(ask)

    def _drawn(self, requests: Sequence[Request]) -> list[list[Tokens]]:
        """The answers to each request."""
        prompts = [SamplingPrompt(self.batches.open(each.messages[-1].images[0].digest), each) for each in requests]

        def answers(few: Sequence[SamplingPrompt]) -> list[list[Tokens]]:
            drawn = draw(self._scorer.model, self._processor, few, self._each)
            return [drawn[k : k + self._each] for k in range(0, len(drawn), self._each)]

        with self.computing():
            return self._together.each(prompts, answers, where="training.ppo", then=_WITHOUT_MEMORY)

    def _score(self, step_batches: Sequence[RolloutMicroBatch]) -> list[RolloutScores]:
        """Of each answer, in the round's order."""
        found = distributed.spread(step_batches, lambda some: [self._scores(microbatch) for microbatch in some])
        placed = zip(
            (place for each in step_batches for place in each.places), (s for each in found for s in each), strict=True
        )
        return [scores for _, scores in sorted(placed)]

    def _scores(self, microbatch: RolloutMicroBatch) -> list[RolloutScores]:
        rows = microbatch.rows
        # Each under an autocast of its own, for one remembers the weights it has cast by their place.
        with self.computing():
            logprob_T, value_T = self._scorer(rows)
        if self._drew is not None:
            with self._drew.restored(), self.computing():
                logprob_T, _ = self._scorer(rows)
        with self._beginning.restored(), self.computing():
            reference_T, _ = self._scorer(rows)
        drawn = len(microbatch.places)
        each = (by_answer(values_T, rows)[:drawn] for values_T in (logprob_T, reference_T, value_T))
        return [RolloutScores(*own) for own in zip(*each, strict=True)]
