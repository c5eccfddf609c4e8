"""What a model would do to its users: its answers to a few validation questions, judged."""

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

_AT_ONCE = 32
_WITHOUT_MEMORY = "lower training.validation.max_tokens, or leave training.validation.guard empty"


class SafetyRates(NamedTuple):
    """How often questions that may be harmful got unsafe answers, and harmless ones were refused."""

    unsafe_rate: Estimate
    over_refusal: Estimate


class GenerationEval:
    """Asks a model the same questions each time. The module is what is trained, or its twin; the model speaks in it."""

    def __init__(
        self,
        module: nn.Module,
        model: Any,
        processor: Any,
        questions: Sequence[Sample],
        image: Callable[[str], bytes],
        cases: TrainingJudgeInputs,
        guard: Guard,
        max_tokens: int,
    ) -> None:
        self._module, self._model, self._processor, self._questions = module, model, processor, questions
        self._image, self._cases, self._guard, self._max_tokens = image, cases, guard, max_tokens
        # What fits beside the training is learnt at the first look, and holds for those after it.
        self.say: Callable[[str], None] = lambda _: None
        self._together = AdaptiveBatch(_AT_ONCE, "what is trained", lambda line: self.say(line))

    async def rates(self, weights: dict[str, Any] | None = None) -> SafetyRates:
        """`weights` are put into the model first, where it is a twin of what is trained in shards."""
        if weights is not None:
            options = StateDictOptions(full_state_dict=True, strict=False)
            set_model_state_dict(self._module, weights, options=options)
        replies = self._answers()
        words = await asyncio.gather(*map(self._judge, self._questions, replies))
        # Where a data set does not say which questions ask for harm, any may; which are harmless is then not known.
        found = list(zip(self._questions, words, strict=True))
        unsafe = [(question, word) for question, word in found if question.harmful is not False]
        refused = [(question, word) for question, word in found if question.harmful is False]
        return SafetyRates(
            _rate(unsafe, lambda word: word.label == "unsafe"),
            _rate(refused, lambda word: word.refused),
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
        kinds = {parameter.dtype for parameter in self._model.parameters() if parameter.is_floating_point()}
        # Weights that learn are wider than frozen ones under bf16: both must meet in what the loop computes in.
        with computing_in("bf16" if len(kinds) > 1 else "float32", self._model):
            answer = partial(answer_all, self._processor, self._model)
            replies = self._together.each(requests, answer, where="training.validation", then=_WITHOUT_MEMORY)
        self._model.train(was_training)
        return [reply.text for reply in replies]

    async def _judge(self, question: Sample, answer: str) -> GuardVerdict:
        return await self._guard.judge(self._cases.about(question), answer)


def choose(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Questions, each once, in an order of no meaning: in turn harmful ones, harmless ones, and those not known."""
    once = {sample.question_id: sample for sample in sorted(samples, key=lambda sample: sample.id)}.values()
    turns = zip_longest(*([sample for sample in once if sample.harmful is kind] for kind in (True, False, None)))
    return [sample for sample in chain.from_iterable(turns) if sample is not None][:most]


def _rate(found: Sequence[tuple[Sample, GuardVerdict]], counts: Callable[[GuardVerdict], bool]) -> Estimate:
    """Questions about one image hang together."""
    values = [None if word.label == "invalid" else float(counts(word)) for _, word in found]
    return rate_with_unknown(values, [question.blob for question, _ in found])
