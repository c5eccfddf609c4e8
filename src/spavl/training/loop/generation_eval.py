"""Generates answers to validation questions with the model that is trained, and has a guard judge them."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from spavl.judges.types import Guard, GuardVerdict
from spavl.models.backends.hf import answer_all
from spavl.models.memory import AdaptiveBatch
from spavl.models.types import ImageData, ask_about
from spavl.records import Sample
from spavl.statistics import Estimate, rate_with_unknown
from spavl.training.objectives.judge_inputs import TrainingJudgeInputs
from spavl.training.prefix_trees.logprobs import computing_in

_MAX_AT_ONCE = 32
_OUT_OF_MEMORY = "lower training.validation.max_tokens, or leave training.validation.guard empty"


class SafetyRates(NamedTuple):
    """The rate of unsafe answers to possibly harmful questions, and of refusals of harmless ones."""

    unsafe_rate: Estimate
    over_refusal: Estimate


class GenerationEval:
    """Asks a model the same questions each time. `module` is what is trained, or a copy that is given its weights;
    `model` is the model in it that generates."""

    def __init__(
        self,
        module: nn.Module,
        model: Any,
        processor: Any,
        questions: Sequence[Sample],
        image: Callable[[str], bytes],
        judge_inputs: TrainingJudgeInputs,
        guard: Guard,
        max_tokens: int,
    ) -> None:
        self._module, self._model, self._processor, self._questions = module, model, processor, questions
        self._image, self._judge_inputs, self._guard, self._max_tokens = image, judge_inputs, guard, max_tokens
        self.say: Callable[[str], None] = lambda _: None
        # The batch size that fits into memory beside the training is found at the first validation, and then kept.
        self._adaptive_batch = AdaptiveBatch(_MAX_AT_ONCE, "what is trained", lambda line: self.say(line))

    async def rates(self, weights: dict[str, Any] | None = None) -> SafetyRates:
        """The rates of the model. `weights` are loaded first; they are given if it is a copy of a sharded model."""
        if weights is not None:
            options = StateDictOptions(full_state_dict=True, strict=False)
            set_model_state_dict(self._module, weights, options=options)
        answers = self._answers()
        verdicts = await asyncio.gather(*map(self._judge, self._questions, answers))
        # If a data set does not label harmful questions, all count as possibly harmful and none as harmless.
        judged = list(zip(self._questions, verdicts, strict=True))
        harmful = [(question, verdict) for question, verdict in judged if question.harmful is not False]
        harmless = [(question, verdict) for question, verdict in judged if question.harmful is False]
        return SafetyRates(
            _rate(harmful, lambda verdict: verdict.label == "unsafe"),
            _rate(harmless, lambda verdict: verdict.refused),
        )

    def _answers(self) -> list[str]:
        was_training = self._model.training
        self._model.eval()
        requests = [
            ask_about(
                ImageData(question.blob, self._image(question.blob)),
                question.question,
                max_tokens=self._max_tokens,
                temperature=0.0,
                seed=0,
            )
            for question in self._questions
        ]
        dtypes = {parameter.dtype for parameter in self._model.parameters() if parameter.is_floating_point()}
        # Under bf16 trained weights are float32 and frozen ones bfloat16: autocast brings both together.
        with computing_in("bf16" if len(dtypes) > 1 else "float32", self._model):
            answer = partial(answer_all, self._processor, self._model)
            replies = self._adaptive_batch.each(requests, answer, where="training.validation", then=_OUT_OF_MEMORY)
        self._model.train(was_training)
        return [reply.text for reply in replies]

    async def _judge(self, question: Sample, answer: str) -> GuardVerdict:
        return await self._guard.judge(self._judge_inputs.of(question), answer)


def choose(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Questions, each once: harmful, harmless and unlabelled ones in turn, ordered by their ids, which are hashes."""
    once = {sample.question_id: sample for sample in sorted(samples, key=lambda sample: sample.id)}.values()
    turns = zip_longest(*([sample for sample in once if sample.harmful is kind] for kind in (True, False, None)))
    return [sample for sample in chain.from_iterable(turns) if sample is not None][:most]


def _rate(judged: Sequence[tuple[Sample, GuardVerdict]], counts: Callable[[GuardVerdict], bool]) -> Estimate:
    """A rate with questions clustered by image; an invalid verdict has no value."""
    values = [None if verdict.label == "invalid" else float(counts(verdict)) for _, verdict in judged]
    return rate_with_unknown(values, [question.blob for question, _ in judged])
