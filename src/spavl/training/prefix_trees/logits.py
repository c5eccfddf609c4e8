"""Logits by the model's own forward: its head, and whatever it does to what the head gives.

Models cap their logits, scale them, or leave words out, each in lines of its own. None of that is written again
here: the model's forward is run on states that are there already, in place of the pass that would make them.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers.modeling_outputs import BaseModelOutputWithPast

from spavl.training.model.anatomy import head_of

HALF = (torch.bfloat16, torch.float16)
# Rows of a head in half precision that are widened at a time: all of them would be as large as a small model.
_WORDS_AT_ONCE = 16384


def has_states(model: Any) -> bool:
    """Whether its states can be had without its logits, from `model.model`, and its head stands beside that."""
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
    """[B, T, V] of plain rows, all places of them: for models whose states cannot be had apart."""
    with _HeadInSinglePrecision(model, model.device):
        logits_BTV: Tensor = model(**inputs, use_cache=False).logits
    # Some put their images before the first token, and give logits there too.
    return logits_BTV[:, logits_BTV.shape[1] - inputs["input_ids"].shape[1] :]


class _States(BaseModelOutputWithPast):  # type: ignore[misc]
    """A pass that has made states, and none of what some models make besides."""

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
    """What a forward does after its head is not rounded either."""
    with torch.autocast(device.type, enabled=False):
        yield


class _HeadInSinglePrecision(TorchFunctionMode):
    """The product with the head's weight comes in single precision: in bfloat16, a logit of 20 comes in eighths."""

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
        # Products of single precision are slow on a GPU. There only the sum is kept from being rounded.
        factors = self._factors if states.is_cuda and self._factors in HALF else None
        made: Tensor = _Product.apply(states.flatten(0, -2), weight, factors)  # type: ignore[no-untyped-call]
        made = made.view(*states.shape[:-1], -1)
        return made if bias is None else made + bias.float()


class _Product(torch.autograd.Function):
    """[N, H] x [V, H] -> [N, V] in single precision. What is widened for it is not kept."""

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
        # As a product in half precision learns, where there is one: there its gradient comes rounded.
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
    """The product of two matrices in single precision, whatever they are kept in."""
    if one.is_cuda and one.dtype == other.dtype and one.dtype in HALF:
        return torch.mm(one, other, out_dtype=torch.float32)
    # Autocast would round the factors again, and what comes of them.
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float()
