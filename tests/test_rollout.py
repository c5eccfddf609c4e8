"""Answers drawn from a shared picture and question are those drawn row by row, for every family."""

import random

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, SuppressTokensLogitsProcessor

from families import BEGIN, END, MAKERS, PICTURE, Tiny, tiny
from spavl.models.hf import SeededSampling
from spavl.models.types import Message, Request
from spavl.training.rollout import draw_after, marks_of_pictures

EACH, MOST, STOP = 3, 12, {2}


def prompts(made: Tiny) -> list[list[int]]:
    """Of different lengths, so that one has to be padded."""
    rng = random.Random(4)
    words = lambda number: [rng.randrange(3, 180) for _ in range(number)]  # noqa: E731
    return [[1, *words(2), BEGIN, *[PICTURE] * made.width, END, *words(n)] for n in (3, 6)]


def inputs_of(made: Tiny, rows: list[list[int]], pictures: dict[str, Tensor]) -> dict[str, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    filled = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": filled, **pictures, **made.marks(ids, filled.bool())}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_drawn_is_what_plain_generation_draws_row_by_row(kind: str) -> None:
    # Eager attention, which PaliGemma 2 has alone, is no number at padding in double precision.
    precision = torch.float32 if kind == "paligemma2" else torch.float64
    made = tiny(kind, precision)
    model, rows = made.model, prompts(made)
    pictures = {k: v.to(precision) if v.is_floating_point() else v for k, v in made.pictures(len(rows)).items()}
    requests = [
        Request((Message("user", str(k)),), max_tokens=MOST, temperature=1.0, sample=sample)
        for k in range(len(rows))
        for sample in range(EACH)
    ]
    shared = draw_after(model, inputs_of(made, rows, pictures), requests, STOP)
    dice = [SuppressTokensLogitsProcessor(marks_of_pictures(model))]
    plain = []
    for number, request in enumerate(requests):
        k = number // EACH
        own = {name: values.chunk(len(rows))[k] for name, values in pictures.items()}
        with torch.no_grad():
            drawn = (
                model.eval()
                .generate(
                    **inputs_of(made, [rows[k]], own),
                    generation_config=GenerationConfig(eos_token_id=2, pad_token_id=2, do_sample=False),
                    max_new_tokens=MOST,
                    logits_processor=LogitsProcessorList([*dice, SeededSampling([request])]),
                )[0, len(rows[k]) :]
                .tolist()
            )
        plain.append(tuple(drawn))
    assert shared == plain
    assert len(set(shared)) > EACH, "the dice of the rows differ"
