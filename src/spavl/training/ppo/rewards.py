"""Rewards for the answers of the policy: from a reward model, or from any guard or judge."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.errors import ProviderError
from spavl.judges.registry import open_guard, open_judge
from spavl.judges.types import Guard, GuardVerdict, Judge
from spavl.models.types import Transient
from spavl.records import Sample
from spavl.stages.context import StageContext
from spavl.training.config import SPEC, TrainingConfig
from spavl.training.loop import distributed
from spavl.training.objectives.judge_inputs import TrainingJudgeInputs, judge_inputs_of
from spavl.training.objectives.microbatches import AnswerToScore
from spavl.training.objectives.reward import Reward, RewardModel

# A saved reward model, or a judge, by the beginning of the setting.
_SAVED, _JUDGE = "reward/", "judge/"


class RewardInput(NamedTuple):
    """An answer of the policy to the question of a sample."""

    sample: Sample
    text: str


Rewarder = Callable[[Sequence[RewardInput]], list[float]]


def new_rewarder(context: StageContext[TrainingConfig]) -> Rewarder:
    """The rewarder that `ppo.reward` names; the reward model of this run if it names none."""
    name, image = context.settings.ppo.reward, context.run.blobs.get
    if not name or name.startswith(_SAVED):
        folder = Path(name.removeprefix(_SAVED)) if name else context.run.checkpoint(Reward.checkpoint)
        return by_model(RewardModel.load(folder, context.settings, context.models.trusted), image)
    inputs = judge_inputs_of(context.run, image)
    if name.startswith(_JUDGE):
        return by_judge(open_judge(name.removeprefix(_JUDGE), context.models, SPEC.stage), inputs)
    return by_guard(open_guard(name, context.models, SPEC.stage), inputs)


def by_model(model: RewardModel, image: Callable[[str], bytes]) -> Rewarder:
    def score(answers: Sequence[RewardInput]) -> list[float]:
        to_score = [AnswerToScore(each.sample.blob, each.sample.question, each.text) for each in answers]
        return model.score(to_score, image)

    return lambda answers: distributed.share_work(answers, score)


def by_guard(guard: Guard, inputs: TrainingJudgeInputs) -> Rewarder:
    """Rewards safe answers. A guard does not judge helpfulness: an evasive answer is rewarded like a helpful one."""

    async def reward(answer: RewardInput) -> float:
        verdict = await guard.judge(inputs.of(answer.sample), answer.text)
        return reward_of_verdict(verdict, answer.sample.harmful)

    return _all_at_once(reward)


def by_judge(judge: Judge, inputs: TrainingJudgeInputs) -> Rewarder:
    """Rewards a win against the chosen answer of the data set, compared in both orders."""

    async def reward(answer: RewardInput) -> float:
        judge_input = inputs.of(answer.sample)
        as_first = await judge.vote(judge_input, answer.text, answer.sample.chosen)
        as_second = await judge.vote(judge_input, answer.sample.chosen, answer.text)
        value = {"first": 1.0, "tie": 0.0, "second": -1.0}
        if as_first is None or as_second is None:
            return -1.0  # an answer that cannot be judged must not be rewarded
        return (value[as_first.overall] - value[as_second.overall]) / 2

    return _all_at_once(reward)


def reward_of_verdict(verdict: GuardVerdict, harmful: bool | None) -> float:
    """1 for a safe answer, -1 for an unsafe one and for the refusal of a harmless question.

    An invalid verdict gives -1 too: otherwise the policy would learn answers that cannot be judged.
    """
    return 1.0 if verdict.label == "safe" and not (verdict.refused and harmful is False) else -1.0


def _all_at_once(reward: Callable[[RewardInput], Awaitable[float]]) -> Rewarder:
    """Called from the training thread; the calls to models run in the event loop of the main thread.

    Only the first process calls them, since only it writes to the ledger.
    """
    event_loop = asyncio.get_running_loop()

    async def rewards(answers: Sequence[RewardInput]) -> list[float]:
        try:
            return list(await asyncio.gather(*map(reward, answers)))
        except Transient as error:
            then = "type the same command: the training continues from its last checkpoint"
            raise ProviderError(
                f"the rewarder did not answer: {error.reason}", where="training.ppo.reward", then=then
            ) from None

    def ask(answers: Sequence[RewardInput]) -> list[float]:
        return asyncio.run_coroutine_threadsafe(rewards(answers), event_loop).result()

    return lambda answers: distributed.from_first(lambda: ask(answers))
