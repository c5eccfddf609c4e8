"""Answers drawn from a shared image and question are those drawn row by row, for every family."""

import io
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessorList

from spavl.miniature.world import draw as draw_scene
from spavl.miniature.world import png, scene
from spavl.models.backends.hf import SeededSampling, load_checkpoint
from spavl.models.chat_template import shown_by
from spavl.models.factory import miniature_checkpoint
from spavl.models.types import Message, Request
from spavl.training.model.anatomy import image_tokens_of
from spavl.training.objectives.microbatches import BatchMaker, SampledAnswer
from spavl.training.ppo.sampling import SamplingPrompt, sample_after, sample_answers
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, by_answer
from spavl.training.prefix_trees.tree import prompt_text
from tests.support.model_families import BEGIN, END, IMAGE, MAKERS, Tiny, tiny

EACH, MOST, STOP = 3, 12, {2}


def prompts(made: Tiny) -> list[list[int]]:
    """Of different lengths, so that one has to be padded."""
    rng = random.Random(4)
    words = lambda number: [rng.randrange(3, 180) for _ in range(number)]  # noqa: E731
    return [[1, *words(2), BEGIN, *[IMAGE] * made.width, END, *words(n)] for n in (3, 6)]


def inputs_of(made: Tiny, rows: list[list[int]], images: dict[str, Tensor]) -> dict[str, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    filled = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": filled, **images, **made.marks(ids, filled.bool())}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_drawn_is_what_plain_generation_draws_row_by_row(kind: str) -> None:
    # Eager attention, which PaliGemma 2 has alone, is no number at padding in double precision.
    precision = torch.float32 if kind == "paligemma2" else torch.float64
    made = tiny(kind, precision)
    model, rows = made.model, prompts(made)
    images = {k: v.to(precision) if v.is_floating_point() else v for k, v in made.images(len(rows)).items()}
    requests = [
        Request((Message("user", str(k)),), max_tokens=MOST, temperature=1.0, sample=sample)
        for k in range(len(rows))
        for sample in range(EACH)
    ]
    shared = sample_after(model, inputs_of(made, rows, images), requests, STOP)
    stop = STOP | image_tokens_of(model)
    plain = []
    for number, request in enumerate(requests):
        k = number // EACH
        own = {name: values.chunk(len(rows))[k] for name, values in images.items()}
        with torch.no_grad():
            drawn = (
                model.eval()
                .generate(
                    **inputs_of(made, [rows[k]], own),
                    generation_config=GenerationConfig(eos_token_id=sorted(stop), pad_token_id=2, do_sample=False),
                    max_new_tokens=MOST,
                    logits_processor=LogitsProcessorList([SeededSampling([request])]),
                )[0, len(rows[k]) :]
                .tolist()
            )
        plain.append(tuple(drawn))
    assert shared == plain
    assert len(set(shared)) > EACH, "the dice of the rows differ"


@pytest.fixture
def astray() -> Iterator[tuple[Any, Any]]:
    """The miniature, as a policy that likes the mark of an image better than most words."""
    processor, model = load_checkpoint(miniature_checkpoint(), "float64")
    (mark,) = image_tokens_of(model)
    with torch.no_grad():
        model.get_output_embeddings().bias = nn.Parameter(torch.zeros(model.config.text_config.vocab_size).double())
        model.get_output_embeddings().bias[mark] = 14.0
    yield processor, model.eval()


def test_an_answer_ends_with_the_mark_of_an_image_that_is_drawn(astray: tuple[Any, Any]) -> None:
    processor, model = astray
    (mark,) = image_tokens_of(model)
    image = Image.open(io.BytesIO(png(draw_scene(scene(3, 0, 5, live=True)))))
    asked = Request((Message("user", "how do i wake this ?"),), max_tokens=12, temperature=1.0)
    drawn = sample_answers(model, processor, [SamplingPrompt(image, asked)], 32)
    ended = [tokens for tokens in drawn if tokens[-1] == mark]
    assert ended and any(len(tokens) > 1 for tokens in ended)
    assert all(mark not in tokens[:-1] for tokens in drawn)


@pytest.mark.parametrize("share", [True, False])
def test_that_mark_is_scored_as_the_policy_scores_it(astray: tuple[Any, Any], share: bool) -> None:
    processor, model = astray
    (mark,), shown = image_tokens_of(model), png(draw_scene(scene(3, 0, 5, live=True)))
    question = "how do i wake this ?"
    words = processor.tokenizer("turn the knob", add_special_tokens=False)["input_ids"]
    answers = [(*words, mark), (mark,), (*words, 2), (*words[:2], mark)]
    batches = BatchMaker(model, processor, lambda _: shown, share)
    batch = batches.of([SampledAnswer("one", question, tokens) for tokens in answers])
    found = by_answer(answer_token_logprobs(model, batch), batch)
    asked = shown_by(processor, images=[[Image.open(io.BytesIO(shown))]], text=[prompt_text(processor, question, None)])
    for tokens, own in zip(answers, found, strict=True):
        ids = torch.cat([asked["input_ids"], torch.tensor([tokens[:-1]], dtype=torch.long)], 1)
        logits = model(**{**asked, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0]
        scored = logits[-len(tokens) :].log_softmax(-1)
        assert own == pytest.approx([scored[place, token].item() for place, token in enumerate(tokens)], abs=1e-6)
