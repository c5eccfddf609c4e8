"""From prompts with pictures and their answers to the tensors of one forward pass."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL.Image import Image
from torch import Tensor

from spavl.errors import TrainingError
from spavl.training.losses import token_logprobs

# What a processor gives per token besides `input_ids`, and which therefore grows with an answer.
_PER_TOKEN = ("attention_mask", "token_type_ids", "mm_token_type_ids")


class Row(NamedTuple):
    """A question about a picture, and an answer to score."""

    image: Image
    question: str
    answer: str
    system: str | None = None


class Batch(NamedTuple):
    """The model's inputs, padded on the right, and where the answers stand in them."""

    inputs: dict[str, Tensor]
    # The (row, place) of each answer token's *predecessor*, and the token to predict there.
    row_T: Tensor
    place_T: Tensor
    token_T: Tensor
    rows: int


def prompt_messages(question: str, system: str | None) -> list[dict[str, Any]]:
    """The chat that stands before an answer; the picture comes first, as in LLaVA."""
    asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    if system is None:
        return [asked]
    return [{"role": "system", "content": [{"type": "text", "text": system}]}, asked]


def make_batch(processor: Any, rows: Sequence[Row]) -> Batch:
    """Tokenise rows; an answer is always scored to its end token, so that stopping is learnt too."""
    tokenizer = processor.tokenizer
    texts = [
        processor.apply_chat_template(prompt_messages(row.question, row.system), add_generation_prompt=True)
        for row in rows
    ]
    tokenizer.padding_side = "right"
    inputs = dict(processor(images=[row.image for row in rows], text=texts, padding=True, return_tensors="pt"))
    prompts = inputs["attention_mask"].sum(1).tolist()
    answers = [tokenizer(row.answer, add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id] for row in rows]
    if empty := next((row for row, answer in zip(rows, answers, strict=True) if len(answer) == 1), None):
        raise TrainingError("an answer is empty", where=repr(empty.question), then="drop such rows from the data set")
    width = max(start + len(answer) for start, answer in zip(prompts, answers, strict=True))
    grown = {
        name: _widen(tensor, width, tokenizer.pad_token_id if name == "input_ids" else 0)
        for name, tensor in inputs.items()
        if name == "input_ids" or name in _PER_TOKEN
    }
    for k, (start, answer) in enumerate(zip(prompts, answers, strict=True)):
        grown["input_ids"][k, start : start + len(answer)] = torch.tensor(answer)
        grown["attention_mask"][k, start : start + len(answer)] = 1
    places = [range(start - 1, start - 1 + len(answer)) for start, answer in zip(prompts, answers, strict=True)]
    return Batch(
        inputs={**inputs, **grown},
        row_T=torch.tensor([k for k, answer in enumerate(answers) for _ in answer]),
        place_T=torch.tensor([place for span in places for place in span]),
        token_T=torch.tensor([token for answer in answers for token in answer]),
        rows=len(rows),
    )


def _widen(tensor: Tensor, width: int, filler: int) -> Tensor:
    wide = torch.full((tensor.shape[0], width), filler, dtype=tensor.dtype)
    wide[:, : tensor.shape[1]] = tensor
    return wide


def answer_token_logprobs(model: Any, batch: Batch) -> Tensor:
    """The log-probability of every answer token; words are scored at the answers' places only."""
    hidden_BTH = model.model(**batch.inputs).last_hidden_state
    return token_logprobs(model.lm_head(hidden_BTH[batch.row_T, batch.place_T]), batch.token_T)


def answer_logprobs(model: Any, batch: Batch) -> Tensor:
    """The summed log-probability of each row's answer."""
    return sum_by_row(answer_token_logprobs(model, batch), batch)


def sum_by_row(logprobs_T: Tensor, batch: Batch) -> Tensor:
    return torch.zeros(batch.rows, dtype=logprobs_T.dtype).index_add(0, batch.row_T, logprobs_T)
