"""The reward model: one number for an answer, trained on pairs with the Bradley-Terry loss."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from spavl.errors import ConfigError
from spavl.models.backends.hf import load_checkpoint
from spavl.models.chat_template import turn_of
from spavl.records import Preference, Sample
from spavl.stages.context import StageContext
from spavl.statistics import Estimate, rate_by_cluster
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from spavl.training.config import TrainingConfig
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.heads import RewardScorer
from spavl.training.objectives.losses import bradley_terry
from spavl.training.objectives.microbatches import (
    AnswerToScore,
    BatchMaker,
    SampledAnswer,
    SampleOrder,
    StepBatches,
    chosen_of,
    pack_by_tokens,
    rejected_of,
)
from spavl.training.objectives.notes import OrderingNotes, PreparationNotes
from spavl.training.objectives.registry import Objective, ObjectiveInputs
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import computing_in

_HEAD, _ABOUT = "reward_head.safetensors", "reward.json"
_PAIRS_AT_ONCE = 16
# Answers that are checked before the first one is scored.
_CHECKED = 8
# An answer, and its place among those that are scored.
_Placed = tuple[int, AnswerToScore | SampledAnswer]


class RewardBatch(NamedTuple):
    """Some pairs of a step: all chosen answers, then all rejected ones."""

    rows: TreeBatch
    # The margin of each pair in the loss.
    margin_P: torch.Tensor
    # The pairs of the whole step, of which this batch is a part.
    pairs: int


class Reward(Objective[RewardBatch]):
    """Trains a reward model on pairs."""

    checkpoint: ClassVar[str] = "reward"
    label: ClassVar[str] = "reward model"
    module: RewardScorer
    step_batches: StepBatches

    def __init__(self, inputs: ObjectiveInputs) -> None:
        config = inputs.settings
        self.module = RewardScorer(inputs.model)
        order = SampleOrder(inputs.samples, config.batch_size, config.epochs, inputs.seed, config.batch_by)
        batches = BatchMaker(inputs.model, inputs.processor, inputs.image, config.share_prefixes)
        self.step_batches = StepBatches(batches, order, config, answers_of)
        self.samples, self.steps = order.samples, order.steps
        self._margin, self._harm_gaps = config.reward.margin, inputs.harm_gaps

    @classmethod
    def with_run(
        cls, inputs: ObjectiveInputs, context: StageContext[TrainingConfig], trained: Any, folder: Path
    ) -> ObjectiveInputs:
        if not inputs.settings.reward.margin:
            return inputs
        harm_gaps = _harm_gaps(context.run, inputs.samples)
        if not harm_gaps:
            then = "set training.reward.margin = 0, or train on a run whose judge graded harm"
            raise ConfigError("the pairs have no grades of harm", where="training.reward.margin", then=then)
        return replace(inputs, harm_gaps=harm_gaps)

    def prepare(self, screen: Screen) -> PreparationNotes:
        self.step_batches.check()
        return PreparationNotes()

    def microbatches(self, number: int) -> MicroBatches[RewardBatch]:
        step = self.step_batches.at(number)
        pairs = sum(map(len, step))

        def batch_of(samples: Sequence[Sample]) -> RewardBatch:
            return RewardBatch(self.step_batches.batch(samples), self._margins(samples), pairs)

        return MicroBatches(step, batch_of)

    def loss(self, module: Any, batch: RewardBatch) -> BatchLoss:
        chosen_P, rejected_P = module(batch.rows).chunk(2)
        loss_P = bradley_terry(chosen_P, rejected_P, batch.margin_P.to(chosen_P))
        margin_P = (chosen_P - rejected_P).detach()
        metrics = {
            "accuracy": (_wins_and_half_ties(margin_P).sum() / batch.pairs).item(),
            "margin": (margin_P.sum() / batch.pairs).item(),
            "pairs": len(batch.margin_P),
            "tokens": batch.rows.tokens,
        }
        return BatchLoss(loss_P.sum() / batch.pairs, metrics)

    def final_notes(self, context: StageContext[TrainingConfig], processor: Any) -> OrderingNotes:
        """The accuracy on training pairs and on pairs of other splits."""
        model = RewardModel(self.module, processor, context.settings)
        held_out = [sample for sample in context.run.read("dataset", Sample) if sample.split != "train"]
        # As many training pairs, ordered by their ids, which are hashes.
        trained_on = sorted(self.samples, key=lambda sample: sample.id)[: max(100, len(held_out))]
        rates: list[Estimate | None] = []
        with context.screen.bar("accuracy", len(trained_on) + len(held_out), unit="pairs") as bar:
            for samples in (trained_on, held_out):
                is_correct = []
                for each in model.in_order(samples, context.run.blobs.get):
                    is_correct.append(each)
                    bar.advance()
                blobs = [sample.blob for sample in samples]
                rates.append(rate_by_cluster(is_correct, blobs) if samples else None)
        return OrderingNotes(*rates)

    def save_beside(self, folder: Path, notes: Mapping[str, object]) -> None:
        """Write the head, and notes that show that this checkpoint is a reward model."""
        head = {name: value.cpu().contiguous() for name, value in self.module.head.state_dict().items()}
        save_file(head, folder / _HEAD)
        (folder / _ABOUT).write_text(json.dumps({"reads": "the end token", **notes}, indent=2) + "\n")

    def _margins(self, samples: Sequence[Sample]) -> torch.Tensor:
        return torch.tensor([self._margin * self._harm_gaps.get(sample.id, 0.0) for sample in samples])


class RewardModel:
    """A trained reward model that scores answers."""

    def __init__(self, scorer: RewardScorer, processor: Any, settings: TrainingConfig) -> None:
        self._scorer, self._processor, self._settings = scorer, processor, settings
        self._checked = False

    @classmethod
    def load(cls, path: Path, settings: TrainingConfig, trusted: Collection[str] = ()) -> "RewardModel":
        if not (path / _ABOUT).exists():
            then = "give the folder of a reward model, such as runs/NAME/checkpoints/reward"
            raise ConfigError("this folder holds no reward model of spavl", where=str(path), then=then)
        processor, model = load_checkpoint(str(path), trusted=trusted)
        scorer = RewardScorer(model.eval()).requires_grad_(False)
        scorer.head.load_state_dict(load_file(path / _HEAD))
        return cls(scorer, processor, settings)

    @torch.no_grad()
    def score(self, answers: Sequence[AnswerToScore], image: Callable[[str], bytes]) -> list[float]:
        """The rewards of answers. An empty answer is the end token alone.

        The first answers are checked like those before training, since sharing was checked on another model.
        """
        batches = BatchMaker(self._scorer.model, self._processor, image, self._settings.share_prefixes)
        end = (turn_of(self._processor).end_token,)
        not_empty = [
            answer if answer.text.strip() else SampledAnswer(answer.image, answer.question, end) for answer in answers
        ]
        rewards: dict[int, float] = {}
        with computing_in(self._settings.reward.loop.precision, self._scorer.model):
            if not self._checked:
                batches.check(not_empty[:_CHECKED])
                self._checked = True
            for microbatch in self._pack(batches, not_empty):
                places, some = zip(*microbatch, strict=True)
                rewards.update(zip(places, self._scorer(batches.of(some)).tolist(), strict=True))
        return [rewards[place] for place in range(len(not_empty))]

    def _pack(self, batches: BatchMaker, answers: Sequence[AnswerToScore | SampledAnswer]) -> list[list[_Placed]]:
        def tokens(some: Sequence[_Placed]) -> int:
            return batches.tokens([answer for _, answer in some])

        by_image = sorted(enumerate(answers), key=lambda placed: placed[1].image)
        most = self._settings.max_tokens_per_microbatch
        return pack_by_tokens(by_image, tokens, most, image=lambda placed: placed[1].image)

    def in_order(self, samples: Sequence[Sample], image: Callable[[str], bytes]) -> Iterator[float]:
        """Whether the chosen answer of each pair has the greater reward; a tie counts half."""
        for first in range(0, len(samples), _PAIRS_AT_ONCE):
            rewards = torch.tensor(self.score(answers_of(samples[first : first + _PAIRS_AT_ONCE]), image))
            chosen_P, rejected_P = rewards.chunk(2)
            yield from _wins_and_half_ties(chosen_P - rejected_P).tolist()


def about(folder: Path) -> dict[str, Any]:
    """The notes of a saved reward model; empty if the folder holds none."""
    file = folder / _ABOUT
    return dict(json.loads(file.read_text())) if file.exists() else {}


def answers_of(samples: Sequence[Sample]) -> list[AnswerToScore]:
    return chosen_of(samples) + rejected_of(samples)


def _wins_and_half_ties(margin_P: torch.Tensor) -> torch.Tensor:
    """A margin of zero is a tie and counts half."""
    return (margin_P > 0).double() + 0.5 * (margin_P == 0).double()


def _harm_gaps(run: RunFolder, samples: Sequence[Sample]) -> dict[str, float]:
    """The difference of the grades of harm of each sample's answers, if the judge graded them."""
    if not run.manifest("preferences"):
        return {}
    preferences = {preference.id: preference for preference in run.read("preferences", Preference)}
    harms = attrgetter("first_harm", "second_harm")
    graded = {s.id: harms(preferences[s.preference_id]) for s in samples if s.preference_id in preferences}
    return {id_: abs(first - second) for id_, (first, second) in graded.items() if None not in (first, second)}
