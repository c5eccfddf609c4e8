"""Before a training starts: rows that share an image score, and teach, as they do each by itself.

A token in the wrong place moves a score by no more than the rounding of half precision does. So scores and
gradients are compared in single precision, whatever the weights are kept in and the loop computes in.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from spavl.errors import TrainingError
from spavl.training.prefix_trees.batch import TreeBatch, make_batch
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, hidden_states, sorted_by_answer
from spavl.training.prefix_trees.sparse_last_layer import layers_of
from spavl.training.prefix_trees.tokenize import ScoredRow

_HALF = (torch.bfloat16, torch.float16)
# The most that rounding may move the log-probability of a token, or gradients as a share of their length.
_ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.05}


class SharingError(NamedTuple):
    """How far sharing moves the score of any token, and gradients as a share of their length."""

    scores: float
    # Missing where the device has no room for it.
    gradients: float | None


class InSinglePrecision(TorchFunctionMode):
    """Whatever is in half precision is widened where it is computed with; a whole model would not fit twice."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, given: Any = (), named: Any = None) -> Any:
        given, named = tree_map(_widened, (given, named or {}))
        return function(*given, **named)


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in _HALF:
        return value.float()
    return torch.float32 if value in _HALF and isinstance(value, torch.dtype) else value


def check_sharing(model: Any, processor: Any, rows: Sequence[ScoredRow]) -> SharingError:
    """More than rounding is refused. Gradients are compared on the images of the first and the last row alone."""
    trees, plain = (make_batch(model, processor, rows, share) for share in (True, False))
    ends = {rows[0].image_id, rows[-1].image_id}
    few = [row for row in rows if row.image_id in ends]
    kind = model.device.type
    computed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
    with _watched(model) as watched, in_single_precision(model):
        moved = SharingError(_scores_apart(model, trees, plain), _gradients_apart(model, processor, few, watched))
    _refuse(model, moved, _ROUNDING[torch.promote_types(model.dtype, torch.float32)])
    if computed in _HALF:
        # As the loop computes, kernels may be others.
        _refuse(model, SharingError(_scores_apart(model, trees, plain), None), _ROUNDING[computed])
    return moved


def _refuse(model: Any, moved: SharingError, most: float) -> None:
    # Gradients add up what all tokens differ by.
    for name, value, bound in (("scores", moved.scores, most), ("gradients", moved.gradients, 10 * most)):
        if value is not None and not value <= bound:
            unit = "of a plain row's tokens by up to {:.2g} nats" if name == "scores" else "by {:.2g} of their length"
            what = f"sharing images between rows moves this model's {name} {unit.format(value)}"
            then = "report this model; train it with share_prefixes = false, for its plain rows are right"
            raise TrainingError(what, where=model.name_or_path, then=then)


@torch.no_grad()
def _scores_apart(model: Any, trees: TreeBatch, plain: TreeBatch) -> float:
    scores = [sorted_by_answer(answer_token_logprobs(model, batch), batch) for batch in (trees, plain)]
    return float((scores[0] - scores[1]).abs().max())


@torch.enable_grad()
def _gradients_apart(
    model: Any, processor: Any, rows: Sequence[ScoredRow], watched: Sequence[nn.Parameter]
) -> float | None:
    """Plain rows one by one, which takes no more room than a tree of them does."""
    trees = make_batch(model, processor, rows)
    plain = [make_batch(model, processor, [row], share=False) for row in rows]
    try:
        found = _gradients(model, trees, 0, watched)
        expected = torch.stack([_gradients(model, each, number, watched) for number, each in enumerate(plain)]).sum(0)
    except torch.OutOfMemoryError:
        return None
    return float((found - expected).norm() / expected.norm())


def _gradients(model: Any, batch: TreeBatch, first: int, watched: Sequence[nn.Parameter]) -> Tensor:
    """Of a sum in which every answer counts differently, as in DPO.

    Of logits, not of log-probabilities: where a model is sure, what those teach is as small as their rounding.
    """
    hidden_TH = hidden_states(model, batch)[batch.row_T, batch.place_T]
    logit_T = (hidden_TH * model.lm_head.weight[batch.token_T.to(hidden_TH.device)]).sum(-1)
    weight_B = torch.pow(-0.9, torch.arange(first, first + batch.answers))
    torch.autograd.backward((logit_T * weight_B[batch.answer_T].to(logit_T)).sum(), inputs=list(watched))
    found = torch.cat([parameter.grad for parameter in watched if parameter.grad is not None])
    for parameter in watched:
        parameter.grad = None
    return found


@contextmanager
def _watched(model: Any) -> Iterator[list[nn.Parameter]]:
    """The first layer's norms: whatever is learnt of words goes through all layers to come to them."""
    watched = [parameter for parameter in layers_of(model)[0].parameters() if parameter.dim() == 1]
    before = [(parameter.data, parameter.requires_grad) for parameter in watched]
    for parameter in watched:
        parameter.data = _widened(parameter.data)
        parameter.requires_grad_(True)
    try:
        yield watched
    finally:
        for parameter, (data, trains) in zip(watched, before, strict=True):
            parameter.data = data
            parameter.requires_grad_(trains)


@contextmanager
def in_single_precision(model: Any) -> Iterator[None]:
    has_half = any(parameter.dtype in _HALF for parameter in model.parameters())
    widening = InSinglePrecision() if has_half else nullcontext()
    # What is computed again on the way back would not be widened there.
    again = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    for module in again:
        module.gradient_checkpointing = False
    # Convolutions would be rounded as well, where cuDNN does them.
    with torch.autocast(model.device.type, enabled=False), torch.backends.cudnn.flags(enabled=False), widening:
        try:
            yield
        finally:
            for module in again:
                module.gradient_checkpointing = True
