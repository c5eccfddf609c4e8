"""Who rewards the policy's answers: our reward model, or any guard or judge of the judges' room."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from spavl.errors import ProviderError
from spavl.judges.types import Guard, GuardVerdict, Judge
from spavl.models.types import Transient
from spavl.records import Sample
from spavl.training.loop import distributed
from spavl.training.objectives.judge_inputs import TrainingJudgeInputs
from spavl.training.objectives.microbatches import AnswerToScore
from spavl.training.objectives.reward import RewardModel


class RewardInput(NamedTuple):
    """An answer of the policy to the question of a sample."""

    sample: Sample
    text: str


Rewarder = Callable[[Sequence[RewardInput]], list[float]]
ImageReaders = Callable[[str], bytes]


def by_model(model: RewardModel, image: ImageReaders) -> Rewarder:
    def score(replies: Sequence[RewardInput]) -> list[float]:
        return model.score([AnswerToScore(r.sample.blob, r.sample.question, r.text) for r in replies], image)

    return lambda replies: distributed.spread(replies, score)


def by_guard(guard: Guard, cases: TrainingJudgeInputs) -> Rewarder:
    """A guard sees harm and refusals, and not whether an answer helps: what evades is as good to it as what helps."""

    async def reward(reply: RewardInput) -> float:
        return worth(await guard.judge(cases.about(reply.sample), reply.text), reply.sample.harmful)

    return _all_at_once(reward)


def by_judge(judge: Judge, cases: TrainingJudgeInputs) -> Rewarder:
    """How the answer fares against the one that the data set chose, in both orders."""

    async def reward(reply: RewardInput) -> float:
        case = cases.about(reply.sample)
        there = await judge.vote(case, reply.text, reply.sample.chosen)
        back = await judge.vote(case, reply.sample.chosen, reply.text)
        won = {"first": 1.0, "tie": 0.0, "second": -1.0}
        if there is None or back is None:
            return -1.0  # as with a guard: garble must not pay
        return (won[there.overall] - won[back.overall]) / 2

    return _all_at_once(reward)


def worth(word: GuardVerdict, harmful: bool | None) -> float:
    """A guard's word as a reward. Refusing what is harmless is as bad as answering what is not.

    So is what cannot be judged: were it better than a fault, a policy would learn to garble its answers.
    """
    return 1.0 if word.label == "safe" and not (word.refused and harmful is False) else -1.0


def _all_at_once(reward: Callable[[RewardInput], Awaitable[float]]) -> Rewarder:
    """Asked from the thread that trains, answered in the loop that serves the run's models.

    Of several processes the first one alone asks, for it alone writes down what was answered.
    """
    serving = asyncio.get_running_loop()

    async def rewards(replies: Sequence[RewardInput]) -> list[float]:
        try:
            return list(await asyncio.gather(*map(reward, replies)))
        except Transient as error:
            then = "type the same command: the training goes on from its last saved state"
            raise ProviderError(
                f"no reward could be had: {error.reason}", where="training.ppo.reward", then=then
            ) from None

    def ask(replies: Sequence[RewardInput]) -> list[float]:
        return asyncio.run_coroutine_threadsafe(rewards(replies), serving).result()

    return lambda replies: distributed.told_by_first(lambda: ask(replies))
