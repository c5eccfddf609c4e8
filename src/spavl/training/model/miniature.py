"""Builds the miniature's checkpoint from a seed: first the vision tower is trained, then the language model.

`spavl miniature` runs this file. The CLIP vision tower is trained to classify the things of the world, as a real tower
is pretrained; the language model behind it is then trained on `spavl.miniature.lessons`.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from spavl.miniature.lessons import lesson, vocabulary
from spavl.miniature.world import GROUNDS, NOUNS, SIZE, Scene, draw, scene
from spavl.store.files import refuse_filled
from spavl.training.config import LoopConfig
from spavl.training.loop.loop import BatchLoss, Checkpoints, MicroBatches, StepRecord, TrainingTask, train
from spavl.training.model.trainable import freeze_vision
from spavl.training.objectives.losses import sft_loss
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logprobs import Scorer

PATCH = 16
PATCHES = (SIZE // PATCH) ** 2
_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<system>", "<user>", "<assistant>")
_TEMPLATE = (
    "<s>{% for message in messages %} <{{ message.role }}>"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %} <image>{% else %} {{ part.text }}{% endif %}"
    "{% endfor %}"
    "{% if message.role == 'assistant' %} </s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %} <assistant>{% endif %}"
)
EYE_STEPS, SPEECH_STEPS = 2000, 1200
STEPS = EYE_STEPS + SPEECH_STEPS
_EYES = LoopConfig(learning_rate=2e-3, warmup_steps=200, weight_decay=0.01, save_every=400)
_SPEECH = LoopConfig(learning_rate=2e-3, warmup_steps=200, weight_decay=0.01, save_every=400)
_EYE_BATCH, _SPEECH_BATCH = 128, 64


def build(out: Path, seed: int, eye_steps: int = EYE_STEPS, speech_steps: int = SPEECH_STEPS) -> Iterator[StepRecord]:
    """Train and save the checkpoint; yields every step of the two trainings in turn."""
    eyes, speech = out / "eyes.states", out / "speech.states"
    refuse_filled(out, but_for=(eyes.name, speech.name))
    torch.manual_seed(seed)
    processor, model = new_processor(), new_model()
    yield from _learn(ImageLessons(model.model.vision_tower, seed, eye_steps), _EYES, eyes)
    yield from _learn(AnswerLessons(model, processor.tokenizer, seed, speech_steps), _SPEECH, speech)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    shutil.rmtree(eyes)
    shutil.rmtree(speech)


def new_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = {word: number for number, word in enumerate((*_SPECIAL, *vocabulary()))}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "<system>", "<user>", "<assistant>"],
        clean_up_tokenization_spaces=False,
    )


def new_processor() -> LlavaProcessor:
    images = CLIPImageProcessorPil(
        size={"height": SIZE, "width": SIZE},
        do_center_crop=False,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=new_tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=_TEMPLATE,
    )


def new_model() -> LlavaForConditionalGeneration:
    """A LLaVA of 1.3 M parameters with random weights."""
    vision = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=288,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
    )
    speech = LlamaConfig(
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        vocab_size=len(_SPECIAL) + len(vocabulary()),
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=speech,
            image_token_index=_SPECIAL.index("<image>"),
            image_seq_length=PATCHES,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            tie_word_embeddings=True,
        )
    )


def pixels_of(scenes: list[Scene]) -> Tensor:
    """The pixel values that the checkpoint's own image processor would return, without its cost."""
    drawn = np.stack([np.asarray(draw(seen)) for seen in scenes])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


class ImageLessons:
    """The training of the vision tower, with heads that are discarded after it."""

    def __init__(self, tower: Any, seed: int, steps: int) -> None:
        self._sizes = [len(NOUNS), 2, len(GROUNDS)]
        # The norm of the pooled output, which is not used.
        tower.post_layernorm.requires_grad_(False)
        self.module = nn.ModuleList([tower, nn.Linear(tower.config.hidden_size, sum(self._sizes))])
        self.steps, self._seed = steps, seed

    def microbatches(self, number: int) -> MicroBatches[tuple[Tensor, Tensor]]:
        return MicroBatches([number], self._eye_batch)

    def _eye_batch(self, number: int) -> tuple[Tensor, Tensor]:
        rng, grounds = random.Random(f"{self._seed}/eyes/{number}"), tuple(GROUNDS)
        scenes = [
            scene(rng.randrange(len(NOUNS)), number * _EYE_BATCH + k, self._seed, live=rng.random() < 0.5)
            for k in range(_EYE_BATCH)
        ]
        truth = [(NOUNS.index(s.thing.noun), int(s.live), grounds.index(s.ground)) for s in scenes]
        return pixels_of(scenes), torch.tensor(truth)

    def loss(self, module: Any, batch: tuple[Tensor, Tensor]) -> BatchLoss:
        pixels, truth = batch
        tower, heads = module
        # The whole scene is predicted from each patch, so that the language model can read it anywhere.
        seen = heads(tower(pixel_values=pixels).last_hidden_state[:, 1:]).split(self._sizes, -1)
        truth_BPK = truth[:, None].expand(-1, PATCHES, -1)
        losses = [F.cross_entropy(logits.flatten(0, 1), truth_BPK[..., k].flatten()) for k, logits in enumerate(seen)]
        right = (seen[0].mean(1).argmax(-1) == truth[:, 0]).float().mean().item()
        return BatchLoss(torch.stack(losses).sum(), {"things_named": right})


class AnswerLessons:
    """The training of the language model, with the trained vision tower."""

    def __init__(self, model: Any, tokenizer: Any, seed: int, steps: int) -> None:
        freeze_vision(model)
        self.module = Scorer(model)
        self.steps, self._tokenizer, self._seed = steps, tokenizer, seed

    def microbatches(self, number: int) -> MicroBatches[TreeBatch]:
        lessons = range(number * _SPEECH_BATCH, (number + 1) * _SPEECH_BATCH)
        return MicroBatches([lessons], lambda those: _lesson_batch(self._tokenizer, self._seed, those))

    def loss(self, module: Any, batch: TreeBatch) -> BatchLoss:
        return BatchLoss(sft_loss(module(batch)), {})


def _learn(task: TrainingTask[Any], config: LoopConfig, states: Path) -> Iterator[StepRecord]:
    task.module.train()
    yield from train(task, config, Checkpoints(states))
    task.module.eval()


def _lesson_batch(tokenizer: Any, seed: int, numbers: range) -> TreeBatch:
    """Lessons as one batch, made by hand because the general pipeline costs more than the forward pass here."""
    lessons = [lesson(seed, number) for number in numbers]
    word = tokenizer.convert_tokens_to_ids
    spelled = []
    for each in lessons:
        system = ["<system>", *each.system.split()] if each.system else []
        prompt = ["<s>", *system, "<user>", *["<image>"] * PATCHES, *each.request.split(), "<assistant>"]
        spelled.append((word(prompt), word([*each.answer.split(), "</s>"])))
    width = max(len(prompt) + len(answer) for prompt, answer in spelled)
    ids = torch.zeros(len(spelled), width, dtype=torch.long)
    for k, (prompt, answer) in enumerate(spelled):
        ids[k, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
    return TreeBatch(
        inputs={
            "input_ids": ids,
            "attention_mask": (ids != 0).long(),
            "pixel_values": pixels_of([each.scene for each in lessons]),
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
