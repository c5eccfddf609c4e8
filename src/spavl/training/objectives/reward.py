"""The reward model: one number for an answer, learnt from pairs by Bradley and Terry's model."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file

from spavl.errors import ConfigError
from spavl.models.backends.hf import load_checkpoint
from spavl.models.chat_template import turn_of
from spavl.records import Sample
from spavl.terminal.progress import Screen
from spavl.training.config import TrainingConfig
from spavl.training.loop.loop import BatchLoss, MicroBatches
from spavl.training.objectives.heads import RewardScorer
from spavl.training.objectives.losses import bradley_terry
from spavl.training.objectives.microbatches import (
    AnswerToScore,
    BatchMaker,
    PairedTask,
    SampledAnswer,
    SampleOrder,
    chosen_of,
    cut,
    rejected_of,
)
from spavl.training.objectives.notes import PreparationNotes
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import computing_in

_HEAD, _ABOUT = "reward_head.safetensors", "reward.json"
_PAIRS_AT_ONCE = 16
# Answers that are looked at before the first is rewarded.
_CHECKED = 8
# An answer, and its place among those that are scored.
_Placed = tuple[int, AnswerToScore | SampledAnswer]


class RewardBatch(NamedTuple):
    """Chosen answers first, rejected ones after them."""

    rows: TreeBatch
    margin_P: torch.Tensor
    # Of the whole step, of which this is a share.
    pairs: int


class Reward:
    """What the loop needs to learn rewards from preference samples.

    `grades` tells by how many grades of harm a sample's answers differ, where its judge gave grades.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        samples: Sequence[Sample],
        image: Callable[[str], bytes],
        config: TrainingConfig,
        seed: int,
        grades: Mapping[str, float],
    ) -> None:
        self.module = RewardScorer(model)
        order = SampleOrder(samples, config.batch_size, config.epochs, seed, config.batch_by)
        self.step_batches = PairedTask(
            BatchMaker(model, processor, image, config.share_prefixes), order, config, answers_of
        )
        self.samples, self.steps = order.samples, order.steps
        self._margin, self._grades = config.reward.margin, grades

    def prepare(self, screen: Screen) -> PreparationNotes:
        self.step_batches.check()
        return PreparationNotes()

    def passes(self, number: int) -> MicroBatches[RewardBatch]:
        step_batches = self.step_batches.at(number)
        pairs = sum(map(len, step_batches))
        return MicroBatches(
            step_batches, lambda some: RewardBatch(self.step_batches.batch(some), self._margins(some), pairs)
        )

    def loss(self, module: Any, batch: RewardBatch) -> BatchLoss:
        chosen_P, rejected_P = module(batch.rows).chunk(2)
        loss_P = bradley_terry(chosen_P, rejected_P, batch.margin_P.to(chosen_P))
        gap_P = (chosen_P - rejected_P).detach()
        metrics = {
            "accuracy": (_won(gap_P).sum() / batch.pairs).item(),
            "margin": (gap_P.sum() / batch.pairs).item(),
            "pairs": len(batch.margin_P),
            "tokens": batch.rows.tokens,
        }
        return BatchLoss(loss_P.sum() / batch.pairs, metrics)

    def _margins(self, samples: Sequence[Sample]) -> torch.Tensor:
        return torch.tensor([self._margin * self._grades.get(sample.id, 0.0) for sample in samples])


class RewardModel:
    """A trained reward model, to score answers with."""

    def __init__(self, scorer: RewardScorer, processor: Any, settings: TrainingConfig) -> None:
        self._scorer, self._processor, self._settings = scorer, processor, settings
        self._checked = False

    @classmethod
    def load(cls, path: Path, settings: TrainingConfig, trusted: Collection[str] = ()) -> "RewardModel":
        if not (path / _ABOUT).exists():
            then = "give the folder of a reward model, such as runs/NAME/checkpoints/reward"
            raise ConfigError("this is no reward model of spavl", where=str(path), then=then)
        processor, model = load_checkpoint(str(path), trusted=trusted)
        scorer = RewardScorer(model.eval()).requires_grad_(False)
        scorer.head.load_state_dict(load_file(path / _HEAD))
        return cls(scorer, processor, settings)

    @torch.no_grad()
    def score(self, answers: Sequence[AnswerToScore], image: Callable[[str], bytes]) -> list[float]:
        """The rewards of answers; an empty answer is one that ended at once.

        The first ones are looked at as those of a training are, for another model's sharing has proved nothing here.
        """
        batches = BatchMaker(self._scorer.model, self._processor, image, self._settings.share_prefixes)
        end = (turn_of(self._processor).end_token,)
        told = [
            answer if answer.text.strip() else SampledAnswer(answer.image, answer.question, end) for answer in answers
        ]
        rewards: dict[int, float] = {}
        with computing_in(self._settings.reward.loop.precision, self._scorer.model):
            if not self._checked:
                batches.check(told[:_CHECKED])
                self._checked = True
            for microbatch in self._cut(batches, told):
                places, some = zip(*microbatch, strict=True)
                rewards.update(zip(places, self._scorer(batches.of(some)).tolist(), strict=True))
        return [rewards[place] for place in range(len(told))]

    def _cut(self, batches: BatchMaker, answers: Sequence[AnswerToScore | SampledAnswer]) -> list[list[_Placed]]:
        def tokens(some: Sequence[_Placed]) -> int:
            return batches.tokens([answer for _, answer in some])

        by_image = sorted(enumerate(answers), key=lambda placed: placed[1].image)
        return cut(by_image, tokens, self._settings.max_tokens_per_microbatch, image=lambda placed: placed[1].image)

    def in_order(self, samples: Sequence[Sample], image: Callable[[str], bytes]) -> Iterator[float]:
        """Of each pair, whether its chosen answer has the greater reward; a tie counts half."""
        for first in range(0, len(samples), _PAIRS_AT_ONCE):
            rewards = torch.tensor(self.score(answers_of(samples[first : first + _PAIRS_AT_ONCE]), image))
            chosen_P, rejected_P = rewards.chunk(2)
            yield from _won(chosen_P - rejected_P).tolist()


def save_head(folder: Path, scorer: RewardScorer, about: Mapping[str, object]) -> None:
    """Put what makes a checkpoint a reward model beside its weights."""
    save_file({name: value.cpu().contiguous() for name, value in scorer.head.state_dict().items()}, folder / _HEAD)
    (folder / _ABOUT).write_text(json.dumps({"reads": "the end token", **about}, indent=2) + "\n")


def about(folder: Path) -> dict[str, Any]:
    """What a saved reward model tells of itself; nothing where there is none."""
    file = folder / _ABOUT
    return dict(json.loads(file.read_text())) if file.exists() else {}


def answers_of(samples: Sequence[Sample]) -> list[AnswerToScore]:
    return chosen_of(samples) + rejected_of(samples)


def _won(gap_P: torch.Tensor) -> torch.Tensor:
    """A gap of nothing is no win: it counts half, as a tie."""
    return (gap_P > 0).double() + 0.5 * (gap_P == 0).double()
