"""Draws answers from the policy. Image and question go through the model once for all answers to them.

Every answer has random numbers of its own, thrown from the seed, the step and its number. So what is drawn at a
step hangs on that and on the weights, and a training that was stopped draws the same again.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from PIL.Image import Image
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from spavl.errors import TrainingError
from spavl.models.backends.hf import SeededSampling, inputs_for
from spavl.models.chat_template import as_written, ends_of, shown_by
from spavl.models.types import Request
from spavl.training.model.anatomy import marks_of_images
from spavl.training.prefix_trees.tokenize import prompt_text


class SamplingPrompt(NamedTuple):
    image: Image
    # Its first answer is this request's `sample`, the next one is one further.
    request: Request

    @property
    def question(self) -> str:
        return self.request.messages[-1].text


@torch.no_grad()
def draw(model: Any, processor: Any, prompts: Sequence[SamplingPrompt], each: int) -> list[tuple[int, ...]]:
    """`each` answers to every prompt, as tokens; the last is an end token unless the answer was too long."""
    texts = [prompt_text(processor, each.question, None) for each in prompts]
    processor.tokenizer.padding_side = "left"
    written = as_written(processor.tokenizer, texts[0])
    images = [[each.image] for each in prompts]
    inputs = inputs_for(model, shown_by(processor, images=images, text=texts, padding=True, **written))
    requests = [replace(prompt.request, sample=prompt.request.sample + k) for prompt in prompts for k in range(each)]
    return draw_after(model, inputs, requests, ends_of(model, processor))


@torch.no_grad()
def draw_after(
    model: Any, inputs: Mapping[str, Tensor], requests: Sequence[Request], ends: set[int]
) -> list[tuple[int, ...]]:
    """Draw an answer to each request; the prompts in `inputs` are shared by equal runs of them, in order.

    A policy that has gone astray may draw the mark of an image, and there is no image to put there: its answer ends
    with the mark. Were the mark kept from being drawn, nothing would teach the policy that it is wrong.
    """
    _refuse_forgetful(model)
    each, most, marks = len(requests) // len(inputs["input_ids"]), requests[0].max_tokens, marks_of_images(model)
    # The model's own settings may hold penalties, and what is drawn must be the policy itself.
    plain = {"eos_token_id": sorted(ends | marks), "pad_token_id": min(ends), "do_sample": False}
    rng = LogitsProcessorList([SeededSampling(requests)])
    with _ready_to_speak(model):
        begun = model.generate(
            **inputs,
            generation_config=GenerationConfig(
                **plain, max_new_tokens=1, return_dict_in_generate=True, output_logits=True
            ),
        )
        prompt_RT = inputs["input_ids"].repeat_interleave(each, 0)
        first_R = rng(prompt_RT, begun.logits[0].repeat_interleave(each, 0)).argmax(-1)
        readable_R = torch.where(_is_one_of(first_R, marks), min(ends), first_R)
        rows_RT = torch.cat([prompt_RT, readable_R[:, None]], 1)
        if most > 1:
            cache = begun.past_key_values
            cache.batch_repeat_interleave(each)
            _repeat_remembered_positions(model, each)
            filled_RT = inputs["attention_mask"].repeat_interleave(each, 0)
            rows_RT = model.generate(
                input_ids=rows_RT,
                attention_mask=torch.cat([filled_RT, filled_RT.new_ones(len(filled_RT), 1)], 1),
                past_key_values=cache,
                generation_config=GenerationConfig(**plain, max_new_tokens=most - 1),
                logits_processor=rng,
            )
    drawn_RT = torch.cat([first_R[:, None], rows_RT[:, prompt_RT.shape[1] + 1 :]], 1)
    return [_until_end(row, ends | marks) for row in drawn_RT.tolist()]


def _is_one_of(tokens_R: Tensor, some: set[int]) -> Tensor:
    return torch.isin(tokens_R, torch.tensor(sorted(some), device=tokens_R.device, dtype=tokens_R.dtype))


def _refuse_forgetful(model: Any) -> None:
    asked = inspect.signature(model.generate).parameters.get("pixel_values")
    if asked is not None and asked.default is inspect.Parameter.empty:
        what = f"a {type(model).__name__} wants its image anew for each answer, and cannot go on from what it has read"
        raise TrainingError(what, where=model.name_or_path, then="train it with dpo, or name a ppo.sampler")


def _until_end(tokens: list[int], ends: set[int]) -> tuple[int, ...]:
    stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tuple(tokens[: stop + 1])


def _repeat_remembered_positions(model: Any, each: int) -> None:
    """Qwen remembers how far each image has pushed the words after it."""
    remembers = getattr(model, "model", model)
    if getattr(remembers, "rope_deltas", None) is not None:
        remembers.rope_deltas = remembers.rope_deltas.repeat_interleave(each, 0)


@contextmanager
def _ready_to_speak(model: Any) -> Iterator[None]:
    """A model in training that computes its activations again keeps no cache, and must not remember this batch."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
        remembers = getattr(model, "model", model)
        if hasattr(remembers, "rope_deltas"):
            remembers.rope_deltas = None
