"""The log-probabilities of answers: one forward pass, and logits at the places of answer tokens only.

Models cap their logits, scale them or leave words out, each in its own code. That code is not duplicated here: the
model's own forward runs on hidden states that are already computed, in place of the pass that would compute them.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint
from transformers.modeling_outputs import BaseModelOutputWithPast

from spavl.errors import TrainingError
from spavl.training.model.anatomy import head_of
from spavl.training.objectives.losses import token_logprobs
from spavl.training.prefix_trees.attention import BY_SEGMENTS, Mask, read_last_layer_only_where_asked
from spavl.training.prefix_trees.batch import TreeBatch

HALF = (torch.bfloat16, torch.float16)
# Rows of a half-precision head that are converted to float32 at once: all of them would be as large as a small model.
_WORDS_AT_ONCE = 16384


def has_states(model: Any) -> bool:
    """Whether `model.model` computes hidden states without logits, with the head as `model.lm_head`."""
    return all(isinstance(getattr(model, name, None), nn.Module) for name in ("model", "lm_head"))


def logits_of_states(model: Any, states_TH: Tensor) -> Tensor:
    """[T, H] -> [T, V]"""
    ids = torch.zeros(1, len(states_TH), dtype=torch.long, device=states_TH.device)
    with (
        _giving(model.model, states_TH[None]),
        _HeadInSinglePrecision(model, states_TH.device),
        _exact(states_TH.device),
    ):
        logits_TV: Tensor = model(input_ids=ids, use_cache=False).logits[0]
    return logits_TV


def logits_of_rows(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """[B, T, V] of plain rows at all places, for models whose hidden states cannot be computed without logits."""
    with _HeadInSinglePrecision(model, model.device):
        logits_BTV: Tensor = model(**inputs, use_cache=False).logits
    # Some models put image features before the first token, and return logits there too.
    return logits_BTV[:, logits_BTV.shape[1] - inputs["input_ids"].shape[1] :]


class _States(BaseModelOutputWithPast):  # type: ignore[misc]
    """The output of a forward pass with hidden states only."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextmanager
def _giving(base: nn.Module, states_1TH: Tensor) -> Iterator[None]:
    own = vars(base).get("forward")
    base.forward = lambda *_, **__: _States(last_hidden_state=states_1TH)
    try:
        yield
    finally:
        if own is None:
            del base.forward
        else:
            base.forward = own


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """Disable autocast, so that the operations after the head are not rounded either."""
    with torch.autocast(device.type, enabled=False):
        yield


class _HeadInSinglePrecision(TorchFunctionMode):
    """Computes the product with the head's weight in float32: bfloat16 rounds a logit of 20 to eighths."""

    def __init__(self, model: Any, device: torch.device) -> None:
        super().__init__()
        self._head, kind = head_of(model), device.type
        self._factors = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None

    def __torch_function__(self, function: Callable[..., Any], types: Any, given: Any = (), named: Any = None) -> Any:
        named = named or {}
        if function is not F.linear or self._head is None or given[1] is not self._head.weight:
            return function(*given, **named)
        return self._product(*given, **named)

    def _product(self, states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if torch.float64 in (states.dtype, weight.dtype):
            return F.linear(states, weight, bias)
        # Float32 products are slow on a GPU. There only the accumulation is in float32.
        factors = self._factors if states.is_cuda and self._factors in HALF else None
        made: Tensor = _Product.apply(states.flatten(0, -2), weight, factors)  # type: ignore[no-untyped-call]
        made = made.view(*states.shape[:-1], -1)
        return made if bias is None else made + bias.float()


class _Product(torch.autograd.Function):
    """[N, H] x [V, H] -> [N, V] in float32. The converted factors are not kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, states_NH: Tensor, weight_VH: Tensor, factors: torch.dtype | None) -> Tensor:
        ctx.save_for_backward(states_NH, weight_VH)
        ctx.factors = factors
        states_NH = _in(factors, states_NH)
        made_NV = states_NH.new_empty(len(states_NH), len(weight_VH), dtype=torch.float32)
        for words in _words(weight_VH):
            made_NV[:, words] = _times(states_NH, _in(factors, weight_VH[words]).T)
        return made_NV

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        states_NH, weight_VH = ctx.saved_tensors
        # The gradient is rounded like that of a half-precision product.
        gradient_NV = _in(ctx.factors, gradients[0])
        of_states = of_weight = None
        if ctx.needs_input_grad[0]:
            pieces = (_times(gradient_NV[:, words], _in(ctx.factors, weight_VH[words])) for words in _words(weight_VH))
            of_states = functools.reduce(Tensor.add_, pieces).to(states_NH.dtype)
        if ctx.needs_input_grad[1]:
            of_weight = _times(gradient_NV.T, _in(ctx.factors, states_NH)).to(weight_VH.dtype)
        return of_states, of_weight, None


def _words(weight_VH: Tensor) -> list[slice]:
    return [slice(first, first + _WORDS_AT_ONCE) for first in range(0, len(weight_VH), _WORDS_AT_ONCE)]


def _in(factors: torch.dtype | None, values: Tensor) -> Tensor:
    return values if factors is None else values.to(factors)


def _times(one: Tensor, other: Tensor) -> Tensor:
    """The product of two matrices in single precision, whatever their dtype."""
    if one.is_cuda and one.dtype == other.dtype and one.dtype in HALF:
        return torch.mm(one, other, out_dtype=torch.float32)
    # Autocast would round the factors and the result again.
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float()


# The number of answer tokens whose logits are computed at once: all of them would need more memory than the model.
_LOGITS_AT_ONCE = 1024


class Scorer(nn.Module):
    """A model as the loop trains it: called with a batch, it returns the log-probability of every answer token."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: TreeBatch) -> Tensor:
        return answer_token_logprobs(self.model, batch)


def answer_token_logprobs(model: Any, batch: TreeBatch) -> Tensor:
    """The log-probability of every answer token; logits are computed at the places of answers only."""
    if has_states(model):
        return words_scored(model, hidden_states(model, batch)[batch.row_T, batch.place_T], batch.token_T)
    logits_BTV = logits_of_rows(model, _to_device(batch.inputs, model.device))
    return token_logprobs(logits_BTV[batch.row_T, batch.place_T], batch.token_T.to(logits_BTV.device))


def hidden_states(model: Any, batch: TreeBatch) -> Tensor:
    """The last hidden state of each token."""
    if not has_states(model):
        what = f"the hidden states of a {type(model).__name__} cannot be read"
        then = "train it with dpo or sft, or with ppo.advantage = 'group': rewards and values need hidden states"
        raise TrainingError(what, where=model.name_or_path, then=then)
    inputs = batch.inputs
    if batch.is_of_trees:
        by_segments = batch.forks is not None
        attention = _attention(model, by_segments)
        if attention == "eager" and not by_segments:
            inputs = {**inputs, "attention_mask": _to_add(inputs["attention_mask"], model.dtype)}
    forks = {} if batch.forks is None else {"forks": batch.forks}
    states_BTH: Tensor = model.model(**_to_device(inputs, model.device), **forks, use_cache=False).last_hidden_state
    return states_BTH


def _attention(model: Any, by_segments: bool) -> str:
    """The attention implementation; eager attention would ignore segments and give wrong scores."""
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
    """Eager attention adds the mask to its scores: masked places get the lowest number."""
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


def _to_device(value: Any, device: torch.device) -> Any:
    return (
        {name: _to_device(part, device) for name, part in value.items()}
        if isinstance(value, dict)
        else value.to(device)
    )


def answer_logprobs(model: Any, batch: TreeBatch) -> Tensor:
    """The summed log-probability of each answer, in the order of the rows the batch was made of."""
    return sum_by_answer(answer_token_logprobs(model, batch), batch)


def sum_by_answer(logprobs_T: Tensor, batch: TreeBatch) -> Tensor:
    answer_T = batch.answer_T.to(logprobs_T.device)
    return logprobs_T.new_zeros(batch.answers).index_add(0, answer_T, logprobs_T)


def answer_lengths(batch: TreeBatch) -> Tensor:
    """The number of tokens of each answer, including its end token."""
    return batch.answer_T.bincount(minlength=batch.answers)


def computing_in(precision: str, model: Any) -> torch.autocast:
    """The autocast of the loop, for computations outside it: frozen weights may have another dtype."""
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
