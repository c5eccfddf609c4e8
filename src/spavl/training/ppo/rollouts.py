"""Collects rollouts: the policy samples answers, they are rewarded, and scored by the policy and its reference."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spavl.models.chat_template import ends_of
from spavl.models.memory import AdaptiveBatch
from spavl.models.types import ImageData, Request, ask_about
from spavl.records import Sample
from spavl.training.loop import distributed
from spavl.training.objectives.heads import PolicyScorer
from spavl.training.objectives.microbatches import (
    AnswerToScore,
    BatchMaker,
    SampledAnswer,
    chosen_of,
    pack_by_tokens,
)
from spavl.training.objectives.registry import ObjectiveInputs
from spavl.training.ppo.remote_sampler import RemoteSampler
from spavl.training.ppo.rewards import Rewarder, RewardInput
from spavl.training.ppo.rollout_store import RolloutAnswer, RolloutBatch
from spavl.training.ppo.sampling import SamplingPrompt, sample_answers
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import answer_lengths, by_answer, computing_in, in_places

_MAX_ROWS_SAMPLED_AT_ONCE = 64
_OUT_OF_MEMORY = (
    "lower training.ppo.answers_per_question or training.ppo.max_tokens, or let a server sample: training.ppo.sampler"
)
Tokens = tuple[int, ...]


class WeightSnapshot:
    """A copy of the trained weights at one time. The snapshot before the first step is the reference.

    Only trained weights are copied; with LoRA they are few.
    """

    def __init__(self, module: nn.Module) -> None:
        self._copies = [(p, p.detach().clone()) for p in module.parameters() if p.requires_grad]

    @contextmanager
    def restoring_weights(self) -> Iterator[None]:
        current = [parameter.data for parameter, _ in self._copies]
        for parameter, copy in self._copies:
            parameter.data = copy
        try:
            yield
        finally:
            for (parameter, _), data in zip(self._copies, current, strict=True):
                parameter.data = data


class RolloutMicroBatch:
    """Some answers of a rollout, by their places in it. Chosen answers of the data set may come after them."""

    def __init__(
        self, batches: BatchMaker, answers: Sequence[AnswerToScore | SampledAnswer], places: list[int]
    ) -> None:
        self._batches, self._answers, self.places = batches, answers, places

    @cached_property
    def rows(self) -> TreeBatch:
        """The batch, made on first use, so that each process makes only its own."""
        return self._batches.of(self._answers)

    @cached_property
    def chosen_tokens(self) -> int:
        return self._batches.answer_tokens(self._answers[len(self.places) :])

    @property
    def sampled_T(self) -> Tensor:
        """Whether each answer token belongs to a sampled answer."""
        return self.rows.answer_T < len(self.places)

    def of(self, values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in self.places]

    def tokens_of(self, values: Sequence[Sequence[float]]) -> Tensor:
        """The values of the tokens sampled here, given those of every answer of the rollout."""
        chosen = [[0.0] * length for length in answer_lengths(self.rows).tolist()[len(self.places) :]]
        return in_places([*self.of(values), *chosen], self.rows)[self.sampled_T]


class RolloutScores(NamedTuple):
    """For each token of an answer: its log-probability under policy and reference, and its value."""

    logprobs: list[float]
    reference: list[float]
    values: list[float]


class RolloutCollector:
    """Samples answers to questions, and has them rewarded and scored."""

    def __init__(self, scorer: PolicyScorer, inputs: ObjectiveInputs, rewarder: Rewarder) -> None:
        self._scorer, self._processor, self._rewarder = scorer, inputs.processor, rewarder
        self._config, self._seed = inputs.settings, inputs.seed
        self._per_question = self._config.ppo.answers_per_question
        self.batches = BatchMaker(scorer.model, inputs.processor, inputs.image, self._config.share_prefixes)
        self.sampler: RemoteSampler | None = inputs.sampler
        self._reference = WeightSnapshot(scorer.model)
        # The weights on the server, and the weights that sampled this rollout if they are not the current ones.
        self._pushed = self._reference if self._config.ppo.publish_every == 0 else None
        self._sampled_with: WeightSnapshot | None = None
        at_once = max(1, _MAX_ROWS_SAMPLED_AT_ONCE // self._per_question)
        self._adaptive_batch = AdaptiveBatch(at_once, "the policy")

    def computing(self) -> Any:
        """The autocast in which the loop computes."""
        return computing_in(self._config.loop.precision, self._scorer.model)

    @torch.no_grad()
    def collect(
        self, turn: int, samples: Sequence[Sample], kl_coef: float
    ) -> tuple[RolloutBatch, list[RolloutMicroBatch]]:
        questions = [sample for sample in samples for _ in range(self._per_question)]
        tokens = self._sample(turn, samples)
        texts = [text.strip() for text in self._processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
        rewards = self._rewarder([RewardInput(sample, text) for sample, text in zip(questions, texts, strict=True)])
        ends = ends_of(self._scorer.model, self._processor)
        if turn == 0 and self._scorer.head is not None:
            # Values begin at the mean reward, so that the critic need not learn their scale first.
            self._scorer.head.bias.fill_(sum(rewards) / len(rewards))
        microbatches = self.microbatches(samples, tokens)
        scores = self._score(microbatches)
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
            for k, sample in enumerate(questions)
        ]
        return RolloutBatch(kl_coef, answers), microbatches

    def microbatches(self, samples: Sequence[Sample], tokens: Sequence[Tokens]) -> list[RolloutMicroBatch]:
        """The sampled answers to these questions, packed into micro-batches."""
        first = {sample.id: k * self._per_question for k, sample in enumerate(samples)}

        def places(some: Sequence[Sample]) -> list[int]:
            return [first[sample.id] + k for sample in some for k in range(self._per_question)]

        def answers(some: Sequence[Sample]) -> list[AnswerToScore | SampledAnswer]:
            questions = [sample for sample in some for _ in range(self._per_question)]
            sampled = [
                SampledAnswer(sample.blob, sample.question, tokens[place])
                for sample, place in zip(questions, places(some), strict=True)
            ]
            return [*sampled, *(chosen_of(some) if self._config.ppo.sft_weight else ())]

        def length(some: Sequence[Sample]) -> int:
            return self.batches.tokens(answers(some))

        most, processes = self._config.max_tokens_per_microbatch, distributed.process_count()
        packed = pack_by_tokens(samples, length, most, processes)
        return [RolloutMicroBatch(self.batches, answers(some), places(some)) for some in packed]

    def _sample(self, turn: int, samples: Sequence[Sample]) -> list[Tokens]:
        requests = [
            ask_about(
                ImageData(sample.blob, b""),
                sample.question,
                max_tokens=self._config.ppo.max_tokens,
                temperature=1.0,
                seed=self._seed,
                sample=turn * self._per_question,
            )
            for sample in samples
        ]
        if self.sampler is not None:
            return self._sample_on_server(turn, requests, self.sampler)
        by_question = distributed.share_work(requests, self._sample_here)
        return [tokens for answers in by_question for tokens in answers]

    def _sample_on_server(self, turn: int, requests: Sequence[Request], sampler: RemoteSampler) -> list[Tokens]:
        every = self._config.ppo.publish_every
        is_push = every > 0 and (turn % every == 0 or self._pushed is None)
        if is_push and every > 1:
            self._pushed = WeightSnapshot(self._scorer.model)
        self._sampled_with = None if is_push else self._pushed

        def ask() -> list[Tokens]:
            if is_push:
                sampler.push_weights(turn)
            return sampler.sample(requests, self._per_question)

        return distributed.from_first(ask)

    def _sample_here(self, requests: Sequence[Request]) -> list[list[Tokens]]:
        """The answers to each request, sampled by this process."""
        prompts = [SamplingPrompt(self.batches.open(each.messages[-1].images[0].digest), each) for each in requests]

        def answers(some: Sequence[SamplingPrompt]) -> list[list[Tokens]]:
            sampled = sample_answers(self._scorer.model, self._processor, some, self._per_question)
            return [sampled[k : k + self._per_question] for k in range(0, len(sampled), self._per_question)]

        with self.computing():
            return self._adaptive_batch.each(prompts, answers, where="training.ppo", then=_OUT_OF_MEMORY)

    def _score(self, microbatches: Sequence[RolloutMicroBatch]) -> list[RolloutScores]:
        """The scores of each answer, in the order of the rollout."""

        def score(some: Sequence[RolloutMicroBatch]) -> list[list[RolloutScores]]:
            return [self._scores(microbatch) for microbatch in some]

        places = [place for microbatch in microbatches for place in microbatch.places]
        scores = [each for found in distributed.share_work(microbatches, score) for each in found]
        return [each for _, each in sorted(zip(places, scores, strict=True))]

    def _scores(self, microbatch: RolloutMicroBatch) -> list[RolloutScores]:
        rows = microbatch.rows
        # One autocast for each set of weights: autocast caches the cast weights by their address.
        with self.computing():
            logprob_T, value_T = self._scorer(rows)
        if self._sampled_with is not None:
            with self._sampled_with.restoring_weights(), self.computing():
                logprob_T, _ = self._scorer(rows)
        with self._reference.restoring_weights(), self.computing():
            reference_T, _ = self._scorer(rows)
        sampled = len(microbatch.places)
        each = (by_answer(values_T, rows)[:sampled] for values_T in (logprob_T, reference_T, value_T))
        return [RolloutScores(*own) for own in zip(*each, strict=True)]
