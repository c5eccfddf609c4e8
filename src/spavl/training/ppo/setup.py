"""Learning from rewards: who gives them, and what is told of a reward model that has learnt to."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from spavl.errors import ConfigError
from spavl.judges.registry import open_guard, open_judge
from spavl.records import Preference, Sample
from spavl.stages.context import StageContext
from spavl.statistics import Estimate, rate_by_cluster
from spavl.training.config import SPEC, TrainingConfig
from spavl.training.objectives.judge_inputs import cases_of
from spavl.training.objectives.notes import OrderingNotes
from spavl.training.objectives.registry import ObjectiveInputs
from spavl.training.objectives.reward import Reward, RewardModel
from spavl.training.ppo.ppo import PPO
from spavl.training.ppo.remote_sampler import RemoteSampler
from spavl.training.ppo.rewards import Rewarder, by_guard, by_judge, by_model

# Where the stage leaves the reward model that it has trained.
REWARD = "reward"
_SAVED, _JUDGE = "reward/", "judge/"


def has_teacher(settings: TrainingConfig) -> bool:
    """Whether a reward model is trained first."""
    return settings.algorithm == "ppo" and not settings.ppo.reward


def reward_task(context: StageContext[TrainingConfig], given: ObjectiveInputs) -> Reward:
    grades = _grades(context, given.samples) if given.settings.reward.margin else {}
    if given.settings.reward.margin and not grades:
        then = "set training.reward.margin = 0, or train on a run whose judge gave grades"
        raise ConfigError("the pairs have no grades of harm", where="training.reward.margin", then=then)
    return Reward(*given[:-1], grades)


def ppo_task(context: StageContext[TrainingConfig], given: ObjectiveInputs, trained: Any, folder: Path) -> PPO:
    """`trained` is the model as it is saved."""
    task = PPO(*given[:-1], _rewarder(context), folder / "rounds")
    if uri := context.settings.ppo.sampler:
        task.answer_from(RemoteSampler(uri, given.model, trained, given.processor, folder / "published", given.image))
    return task


def _rewarder(context: StageContext[TrainingConfig]) -> Rewarder:
    name, image = context.settings.ppo.reward, context.run.blobs.get
    if not name:
        return by_model(
            RewardModel.load(context.run.checkpoint(REWARD), context.settings, context.models.trusted), image
        )
    if name.startswith(_SAVED):
        return by_model(
            RewardModel.load(Path(name.removeprefix(_SAVED)), context.settings, context.models.trusted), image
        )
    cases = cases_of(context.run, image)
    if name.startswith(_JUDGE):
        return by_judge(open_judge(name.removeprefix(_JUDGE), context.models, SPEC.stage), cases)
    return by_guard(open_guard(name, context.models, SPEC.stage), cases)


def _grades(context: StageContext[TrainingConfig], samples: Sequence[Sample]) -> dict[str, float]:
    """By how many grades of harm the answers of each sample differ, where their judge gave grades."""
    if not context.run.manifest("preferences"):
        return {}
    kept = {preference.id: preference for preference in context.run.read("preferences", Preference)}
    harms = attrgetter("first_harm", "second_harm")
    graded = {s.id: harms(kept[s.preference_id]) for s in samples if s.preference_id in kept}
    return {id_: abs(first - second) for id_, (first, second) in graded.items() if None not in (first, second)}


def ordering(context: StageContext[TrainingConfig], task: Reward, processor: Any) -> OrderingNotes:
    """How many pairs the reward model puts in order: of those it was taught, and of those it has never seen."""
    image: Callable[[str], bytes] = context.run.blobs.get
    model = RewardModel(task.module, processor, context.settings)
    unseen = [s for s in context.run.read("dataset", Sample) if s.split != "train"]
    # As many of those taught, by their ids: an order of no meaning.
    taught = sorted(task.samples, key=lambda sample: sample.id)[: max(100, len(unseen))]
    rates: list[Estimate | None] = []
    with context.screen.bar("ordering", len(taught) + len(unseen), unit="pairs") as bar:
        for samples in (taught, unseen):
            right = []
            for each in model.in_order(samples, image):
                right.append(each)
                bar.advance()
            rates.append(rate_by_cluster(right, [sample.blob for sample in samples]) if samples else None)
    return OrderingNotes(*rates)
