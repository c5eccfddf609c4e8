"""Samples answers from the policy. Image and question go through the model once for all answers to them.

Each answer has a random generator of its own, seeded by (seed, step, number of the answer). So the answers of a step
depend only on these and the weights, and a training that was stopped samples the same ones again.
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
from spavl.training.model.anatomy import image_tokens_of
from spavl.training.prefix_trees.tree import prompt_text


class SamplingPrompt(NamedTuple):
    image: Image
    # The first answer has the request's `sample` number, each next one the next number.
    request: Request

    @property
    def question(self) -> str:
        return self.request.messages[-1].text


@torch.no_grad()
def sample_answers(
    model: Any, processor: Any, prompts: Sequence[SamplingPrompt], per_prompt: int
) -> list[tuple[int, ...]]:
    """`per_prompt` answers to each prompt, as tokens. The last token is an end token unless the answer was cut off."""
    texts = [prompt_text(processor, each.question, None) for each in prompts]
    processor.tokenizer.padding_side = "left"
    written = as_written(processor.tokenizer, texts[0])
    images = [[each.image] for each in prompts]
    inputs = inputs_for(model, shown_by(processor, images=images, text=texts, padding=True, **written))
    requests = [replace(each.request, sample=each.request.sample + k) for each in prompts for k in range(per_prompt)]
    return sample_after(model, inputs, requests, ends_of(model, processor))


@torch.no_grad()
def sample_after(
    model: Any, inputs: Mapping[str, Tensor], requests: Sequence[Request], ends: set[int]
) -> list[tuple[int, ...]]:
    """Sample an answer to each request. Each prompt in `inputs` is used for an equal number of consecutive requests.

    A policy may sample an image token, for which there is no image: the answer ends there. If the token were masked
    instead, the policy would never learn that it is wrong.
    """
    _refuse_without_cache(model)
    per_prompt, most = len(requests) // len(inputs["input_ids"]), requests[0].max_tokens
    image_tokens = image_tokens_of(model)
    # Not the model's generation config, which may have penalties: samples must come from the unmodified policy.
    plain = {"eos_token_id": sorted(ends | image_tokens), "pad_token_id": min(ends), "do_sample": False}
    rng = LogitsProcessorList([SeededSampling(requests)])
    with _generating(model):
        begun = model.generate(
            **inputs,
            generation_config=GenerationConfig(
                **plain, max_new_tokens=1, return_dict_in_generate=True, output_logits=True
            ),
        )
        prompt_RT = inputs["input_ids"].repeat_interleave(per_prompt, 0)
        first_R = rng(prompt_RT, begun.logits[0].repeat_interleave(per_prompt, 0)).argmax(-1)
        readable_R = torch.where(_is_one_of(first_R, image_tokens), min(ends), first_R)
        rows_RT = torch.cat([prompt_RT, readable_R[:, None]], 1)
        if most > 1:
            cache = begun.past_key_values
            cache.batch_repeat_interleave(per_prompt)
            _repeat_rope_deltas(model, per_prompt)
            filled_RT = inputs["attention_mask"].repeat_interleave(per_prompt, 0)
            rows_RT = model.generate(
                input_ids=rows_RT,
                attention_mask=torch.cat([filled_RT, filled_RT.new_ones(len(filled_RT), 1)], 1),
                past_key_values=cache,
                generation_config=GenerationConfig(**plain, max_new_tokens=most - 1),
                logits_processor=rng,
            )
    sampled_RT = torch.cat([first_R[:, None], rows_RT[:, prompt_RT.shape[1] + 1 :]], 1)
    return [_until_end(row, ends | image_tokens) for row in sampled_RT.tolist()]


def _is_one_of(tokens_R: Tensor, some: set[int]) -> Tensor:
    return torch.isin(tokens_R, torch.tensor(sorted(some), device=tokens_R.device, dtype=tokens_R.dtype))


def _refuse_without_cache(model: Any) -> None:
    pixels = inspect.signature(model.generate).parameters.get("pixel_values")
    if pixels is not None and pixels.default is inspect.Parameter.empty:
        what = f"a {type(model).__name__} needs the image for each answer, and cannot continue from a cached prompt"
        raise TrainingError(what, where=model.name_or_path, then="train it with dpo, or set training.ppo.sampler")


def _until_end(tokens: list[int], ends: set[int]) -> tuple[int, ...]:
    stop = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tuple(tokens[: stop + 1])


def _repeat_rope_deltas(model: Any, per_prompt: int) -> None:
    """Repeat the position offsets after images, which Qwen models keep as an attribute."""
    inner = getattr(model, "model", model)
    if getattr(inner, "rope_deltas", None) is not None:
        inner.rope_deltas = inner.rope_deltas.repeat_interleave(per_prompt, 0)


@contextmanager
def _generating(model: Any) -> Iterator[None]:
    """Switch to evaluation mode, since gradient checkpointing disables the cache in training mode; then reset."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
        inner = getattr(model, "model", model)
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = None
