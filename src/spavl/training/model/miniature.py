"""Builds the miniature's checkpoint from a seed: first the vision tower is trained, then the language model.

`spavl miniature` runs this file. The vision tower is trained to classify the things of the world, as a real tower is
pretrained; the language model behind it is then trained on `spavl.miniature.lessons`. The families' models are in
`miniature_families.py`.
"""

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spavl.miniature.lessons import Lesson, lesson
from spavl.miniature.world import GROUNDS, NOUNS, scene
from spavl.store.files import refuse_filled
from spavl.training.config import LoopConfig
from spavl.training.loop.loop import BatchLoss, Checkpoints, MicroBatches, StepRecord, TrainingTask, train
from spavl.training.model.miniature_families import FAMILIES, TOWER_WIDTH, MiniatureFamily
from spavl.training.model.trainable import freeze_vision
from spavl.training.objectives.losses import sft_loss
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import Scorer


class MiniatureSchedule(NamedTuple):
    """The optimizer steps of a family's two trainings, the scenes or lessons of a step, and the steps of warm-up."""

    eye_steps: int
    eye_batch: int
    speech_steps: int
    speech_batch: int
    warmup_steps: int

    @property
    def steps(self) -> int:
        return self.eye_steps + self.speech_steps

    @property
    def loop(self) -> LoopConfig:
        return LoopConfig(learning_rate=2e-3, warmup_steps=self.warmup_steps, weight_decay=0.01, save_every=400)


SCHEDULES: Mapping[str, MiniatureSchedule] = MappingProxyType(
    {"llava": MiniatureSchedule(2000, 128, 1200, 64, 200), "qwen2_vl": MiniatureSchedule(500, 64, 700, 64, 100)}
)


def build(
    out: Path, seed: int, family: str = "llava", schedule: MiniatureSchedule | None = None
) -> Iterator[StepRecord]:
    """Train and save the checkpoint; yields every step of the two trainings in turn."""
    own, schedule = FAMILIES[family], schedule or SCHEDULES[family]
    eyes, speech = out / "eyes.states", out / "speech.states"
    refuse_filled(out, but_for=(eyes.name, speech.name))
    torch.manual_seed(seed)
    processor, model = own.new_processor(), own.new_model()
    own.start_tower(own.tower(model))
    yield from _learn(ImageLessons(own, own.tower(model), seed, schedule), schedule.loop, eyes)
    yield from _learn(AnswerLessons(own, model, processor.tokenizer, seed, schedule), schedule.loop, speech)
    model.to(own.saved_as).save_pretrained(out)
    processor.save_pretrained(out)
    shutil.rmtree(eyes)
    shutil.rmtree(speech)


# The image inputs of a batch, and what its scenes show.
_SeenBatch = tuple[dict[str, Tensor], Tensor]


class ImageLessons:
    """The training of the vision tower, with heads that are discarded after it."""

    def __init__(self, family: MiniatureFamily, tower: Any, seed: int, schedule: MiniatureSchedule) -> None:
        self._sizes = [len(NOUNS), 2, len(GROUNDS)]
        family.unread(tower).requires_grad_(False)
        self.module = nn.ModuleList([tower, nn.Linear(TOWER_WIDTH, sum(self._sizes))])
        self.steps, self._batch = schedule.eye_steps, schedule.eye_batch
        self._seed, self._family = seed, family

    def microbatches(self, number: int) -> MicroBatches[_SeenBatch]:
        return MicroBatches([number], self._eye_batch)

    def _eye_batch(self, number: int) -> _SeenBatch:
        rng, grounds = random.Random(f"{self._seed}/eyes/{number}"), tuple(GROUNDS)
        scenes = [
            scene(rng.randrange(len(NOUNS)), number * self._batch + k, self._seed, live=rng.random() < 0.5)
            for k in range(self._batch)
        ]
        truth = [(NOUNS.index(s.thing.noun), int(s.live), grounds.index(s.ground)) for s in scenes]
        return self._family.image_inputs(scenes), torch.tensor(truth)

    def loss(self, module: Any, batch: _SeenBatch) -> BatchLoss:
        inputs, truth = batch
        tower, heads = module
        # The whole scene is predicted from each patch, so that the language model can read it anywhere.
        states, image_N = self._family.patch_states(tower, inputs)
        seen = [logits.flatten(0, -2) for logits in heads(states).split(self._sizes, -1)]
        losses = [F.cross_entropy(logits, truth[image_N, k]) for k, logits in enumerate(seen)]
        summed = seen[0].new_zeros(len(truth), len(NOUNS)).index_add(0, image_N, seen[0])
        right = (summed.argmax(-1) == truth[:, 0]).float().mean().item()
        return BatchLoss(torch.stack(losses).sum(), {"things_named": right})


class AnswerLessons:
    """The training of the language model, with the trained vision tower."""

    def __init__(
        self, family: MiniatureFamily, model: Any, tokenizer: Any, seed: int, schedule: MiniatureSchedule
    ) -> None:
        freeze_vision(model)
        self.module = Scorer(model)
        self.steps, self._batch, self._seed = schedule.speech_steps, schedule.speech_batch, seed
        self._family, self._model, self._tokenizer = family, model, tokenizer

    def microbatches(self, number: int) -> MicroBatches[TreeBatch]:
        lessons = range(number * self._batch, (number + 1) * self._batch)
        return MicroBatches([lessons], self._lesson_batch)

    def _lesson_batch(self, numbers: range) -> TreeBatch:
        return lesson_batch(self._family, self._model, self._tokenizer, [lesson(self._seed, n) for n in numbers])

    def loss(self, module: Any, batch: TreeBatch) -> BatchLoss:
        return BatchLoss(sft_loss(module(batch)), {})


def _learn(task: TrainingTask[Any], config: LoopConfig, states: Path) -> Iterator[StepRecord]:
    task.module.train()
    yield from train(task, config, Checkpoints(states))
    task.module.eval()


def lesson_batch(family: MiniatureFamily, model: Any, tokenizer: Any, lessons: Sequence[Lesson]) -> TreeBatch:
    """Lessons as one batch, made by hand because the general pipeline costs more than the forward pass here."""
    word = tokenizer.convert_tokens_to_ids
    spelled = [(word(prompt), word(answer)) for prompt, answer in map(family.spell, lessons)]
    width = max(len(prompt) + len(answer) for prompt, answer in spelled)
    ids = torch.zeros(len(spelled), width, dtype=torch.long)
    for k, (prompt, answer) in enumerate(spelled):
        ids[k, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
    return TreeBatch(
        inputs={
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            **family.image_inputs([each.scene for each in lessons]),
            **family.marks(model, ids),
        },
        row_T=torch.tensor([k for k, (_, answer) in enumerate(spelled) for _ in answer]),
        place_T=torch.tensor([len(p) - 1 + j for p, answer in spelled for j in range(len(answer))]),
        token_T=torch.tensor([token for _, answer in spelled for token in answer]),
        answer_T=torch.tensor([k for k, (_, answer) in enumerate(spelled) for _ in answer]),
        end_row_B=torch.arange(len(spelled)),
        end_place_B=torch.tensor([len(prompt) + len(answer) - 1 for prompt, answer in spelled]),
        answers=len(spelled),
        tokens=sum(len(prompt) + len(answer) for prompt, answer in spelled),
    )
