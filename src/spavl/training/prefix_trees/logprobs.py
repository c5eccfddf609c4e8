"""The log-probabilities of answers: one forward pass, and words scored at the answers' places only."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from spavl.errors import TrainingError
from spavl.training.objectives.losses import token_logprobs
from spavl.training.prefix_trees.batch import TreeBatch
from spavl.training.prefix_trees.logits import has_states, logits_of_rows, logits_of_states
from spavl.training.prefix_trees.model_support import Mask
from spavl.training.prefix_trees.segment_attention import NAME as BY_SEGMENTS
from spavl.training.prefix_trees.sparse_last_layer import read_last_layer_only_where_asked

# Words' logits are made for so many answer tokens at a time: all at once they would outweigh the model.
_LOGITS_AT_ONCE = 1024


class Scorer(nn.Module):
    """A model as the loop trains it: called with a batch, it gives every answer token's log-probability."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: TreeBatch) -> Tensor:
        return answer_token_logprobs(self.model, batch)


def answer_token_logprobs(model: Any, batch: TreeBatch) -> Tensor:
    """The log-probability of every answer token; words are scored at the answers' places only."""
    if has_states(model):
        return words_scored(model, hidden_states(model, batch)[batch.row_T, batch.place_T], batch.token_T)
    logits_BTV = logits_of_rows(model, _moved(batch.inputs, model.device))
    return token_logprobs(logits_BTV[batch.row_T, batch.place_T], batch.token_T.to(logits_BTV.device))


def hidden_states(model: Any, batch: TreeBatch) -> Tensor:
    """What the model has made of each token, before it speaks."""
    if not has_states(model):
        what = f"what a {type(model).__name__} makes of a token cannot be read before it speaks"
        then = "no reward or value can be read off it: train it with dpo or sft, or ppo.advantage = 'group'"
        raise TrainingError(what, where=model.name_or_path, then=then)
    inputs = batch.inputs
    if batch.is_of_trees:
        by_segments = batch.forks is not None
        attention = _attention(model, by_segments)
        if attention == "eager" and not by_segments:
            inputs = {**inputs, "attention_mask": _to_add(inputs["attention_mask"], model.dtype)}
    forks = {} if batch.forks is None else {"forks": batch.forks}
    states_BTH: Tensor = model.model(**_moved(inputs, model.device), **forks, use_cache=False).last_hidden_state
    return states_BTH


def _attention(model: Any, by_segments: bool) -> str:
    """How the model attends; eager attention knows no segments, and would be wrong without a word."""
    config = model.config.get_text_config()
    if by_segments and config._attn_implementation == "sdpa":
        config._attn_implementation = BY_SEGMENTS
        read_last_layer_only_where_asked(model)
    if config._attn_implementation not in ("sdpa", BY_SEGMENTS, *(() if by_segments else ("eager",))):
        then = 'load the model with attn_implementation="sdpa", or train it with share_prefixes = false'
        what = f"rows cannot share an image under {config._attn_implementation!r} attention"
        raise TrainingError(what, where=model.name_or_path, then=then)
    return str(config._attn_implementation)


def _to_add(mask: Mask, kind: torch.dtype) -> Mask:
    """Eager attention adds a mask to its scores; what may not be seen is then as unlikely as can be."""
    if isinstance(mask, dict):
        return {name: _to_add_one(each, kind) for name, each in mask.items()}
    return _to_add_one(mask, kind)


def _to_add_one(mask: Tensor, kind: torch.dtype) -> Tensor:
    return torch.zeros(mask.shape, dtype=kind).masked_fill(~mask, torch.finfo(kind).min)


def words_scored(model: Any, hidden_TH: Tensor, token_T: Tensor) -> Tensor:
    token_T = token_T.to(hidden_TH.device)

    def score(hidden: Tensor, token: Tensor) -> Tensor:
        return token_logprobs(logits_of_states(model, hidden), token)

    pieces = list(zip(torch.split(hidden_TH, _LOGITS_AT_ONCE), torch.split(token_T, _LOGITS_AT_ONCE), strict=True))
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return torch.cat([score(*piece) for piece in pieces])
    return torch.cat([checkpoint(score, *piece, use_reentrant=False) for piece in pieces])


def _moved(value: Any, device: torch.device) -> Any:
    return {name: _moved(part, device) for name, part in value.items()} if isinstance(value, dict) else value.to(device)


def answer_logprobs(model: Any, batch: TreeBatch) -> Tensor:
    """The summed log-probability of each answer, in the order of the rows the batch was made of."""
    return sum_by_answer(answer_token_logprobs(model, batch), batch)


def sum_by_answer(logprobs_T: Tensor, batch: TreeBatch) -> Tensor:
    answer_T = batch.answer_T.to(logprobs_T.device)
    return logprobs_T.new_zeros(batch.answers).index_add(0, answer_T, logprobs_T)


def answer_lengths(batch: TreeBatch) -> Tensor:
    """How many tokens each answer has, its end token among them."""
    return batch.answer_T.bincount(minlength=batch.answers)


def computing_in(precision: str, model: Any) -> torch.autocast:
    """What the loop computes in, for whatever is computed beside it: frozen weights may be kept in other bytes."""
    return torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16")


def sorted_by_answer(values_T: Tensor, batch: TreeBatch) -> Tensor:
    """The answers' tokens in the order of their rows."""
    return values_T[batch.answer_T.argsort(stable=True)]


def by_answer(values_T: Tensor, batch: TreeBatch) -> list[list[float]]:
    """The values of each answer's tokens, as plain numbers."""
    values = iter(sorted_by_answer(values_T.cpu(), batch).tolist())
    return [list(islice(values, length)) for length in answer_lengths(batch).tolist()]


def in_places(values: Sequence[Sequence[float]], batch: TreeBatch) -> Tensor:
    """The values of each answer's tokens, back in the batch's order."""
    values_T = torch.tensor([value for each in values for value in each], dtype=torch.float64)
    return torch.empty_like(values_T).index_copy_(0, batch.answer_T.argsort(stable=True), values_T)
