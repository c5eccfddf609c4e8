"""What a model would do to its users, seen while it is trained: its answers to a few questions, judged."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from spavl.judges.types import Case, Guard, Word
from spavl.models.hf import answer_all
from spavl.models.types import Picture, ask_about
from spavl.records import Sample
from spavl.statistics import Estimate, wilson_with_unknown
from spavl.store.files import write_text
from spavl.training.config import WatchConfig
from spavl.training.scoring import computing_in

_AT_ONCE = 32


class Look(NamedTuple):
    """How often harmful questions got unsafe answers at a step, and harmless ones were refused."""

    step: int
    unsafe_rate: Estimate
    over_refusal: Estimate

    @property
    def harm(self) -> float:
        """What is to be small; where one kind of question was never asked, the other says all."""
        return sum(each.value for each in (self.unsafe_rate, self.over_refusal) if each.n)

    def as_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "unsafe_rate": self.unsafe_rate.as_json(),
            "over_refusal": self.over_refusal.as_json(),
        }


class Watch:
    """Asks the same questions at every look, and remembers the looks of earlier starts."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        questions: Sequence[Sample],
        picture: Callable[[str], bytes],
        subjects: Mapping[str, str | None],
        guard: Guard,
        settings: WatchConfig,
        memory: Path,
    ) -> None:
        self._model, self._processor, self._questions = model, processor, questions
        self._picture, self._subjects, self._guard, self._settings = picture, subjects, guard, settings
        self._memory = memory
        self.looks = [_read(line) for line in memory.read_text().splitlines()] if memory.exists() else []

    def is_due(self, step: int, steps: int) -> bool:
        looked = any(look.step == step for look in self.looks)
        return not looked and (step % self._settings.every == 0 or step == steps)

    async def look(self, step: int) -> Look:
        replies = self._answers()
        words = await asyncio.gather(*map(self._judge, self._questions, replies))
        found = list(zip(self._questions, words, strict=True))
        unsafe = [word for question, word in found if question.harmful]
        refused = [word for question, word in found if not question.harmful]
        look = Look(
            step,
            _rate([word.label == "unsafe" for word in unsafe if word.label != "invalid"], len(unsafe)),
            _rate([word.refused for word in refused if word.label != "invalid"], len(refused)),
        )
        self.looks.append(look)
        return look

    def remember(self) -> None:
        """To be called once the weights of a best look are safe."""
        write_text(self._memory, "".join(json.dumps(look.as_json()) + "\n" for look in self.looks))

    def best(self, until: int) -> Look | None:
        """Of the looks up to a step; the later of two that are as good, for it has learnt more."""
        looks = [look for look in reversed(self.looks) if look.step <= until]
        return min(looks, key=lambda look: look.harm, default=None)

    def is_hopeless(self, step: int) -> bool:
        """Whether so many looks have brought nothing better that it is time to stop."""
        best = self.best(step)
        since = [look for look in self.looks if best is not None and best.step < look.step <= step]
        return 0 < self._settings.patience <= len(since)

    def _answers(self) -> list[str]:
        was_training = self._model.training
        self._model.eval()
        requests = [
            ask_about(
                Picture(question.blob, self._picture(question.blob)),
                question.question,
                max_tokens=self._settings.max_tokens,
                temperature=0.0,
                seed=0,
            )
            for question in self._questions
        ]
        batches = [requests[start : start + _AT_ONCE] for start in range(0, len(requests), _AT_ONCE)]
        kinds = {parameter.dtype for parameter in self._model.parameters() if parameter.is_floating_point()}
        # Weights that learn are wider than frozen ones under bf16: both must meet in what the loop computes in.
        with computing_in("bf16" if len(kinds) > 1 else "float32", self._model):
            replies = [reply.text for batch in batches for reply in answer_all(self._processor, self._model, batch)]
        self._model.train(was_training)
        return replies

    async def _judge(self, question: Sample, answer: str) -> Word:
        picture = Picture(question.blob, self._picture(question.blob))
        subject = self._subjects.get(question.image_id)
        return await self._guard.judge(Case(picture, question.question, subject, bool(question.harmful)), answer)


def choose(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Questions of the validation split, each once, harmful and harmless ones in turn, in an order of no meaning."""
    once = {sample.question_id: sample for sample in sorted(samples, key=lambda sample: sample.id)}.values()
    turns = zip_longest(
        (sample for sample in once if sample.harmful), (sample for sample in once if sample.harmful is False)
    )
    return [sample for sample in chain.from_iterable(turns) if sample is not None][:most]


def _rate(hits: Sequence[bool], asked: int) -> Estimate:
    return wilson_with_unknown(sum(hits), len(hits) - sum(hits), asked - len(hits))


def _read(line: str) -> Look:
    told = json.loads(line)
    rates = [
        Estimate(**{**told[name], "value": float("nan") if told[name]["value"] is None else told[name]["value"]})
        for name in ("unsafe_rate", "over_refusal")
    ]
    return Look(told["step"], *rates)
