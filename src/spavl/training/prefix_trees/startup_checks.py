"""Checks before a training starts, on the user's own model and data.

`check_sharing`: rows that share an image have the scores and gradients of plain rows. A token in the wrong place
changes a score by no more than the rounding of half precision does. So scores and gradients are compared in single
precision, whatever the weights are stored in and the loop computes in.

`check_scores`: plain rows get the scores of the model's own code, that is of its processor on a whole conversation and
its forward pass with all logits. This finds wrong token types, wrong positions, or a missing cap on logits.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map
from transformers.modeling_outputs import ModelOutput

from spavl.errors import SpavlError, TrainingError
from spavl.models.chat_template import (
    TemplateTurn,
    answer_tokens,
    as_written,
    said_in,
    shown_by,
    tokens_of,
    turn_of,
    written_by_template,
)
from spavl.training.objectives.losses import token_logprobs
from spavl.training.prefix_trees.attention import layers_of
from spavl.training.prefix_trees.batch import TreeBatch, make_batch
from spavl.training.prefix_trees.logprobs import HALF, answer_token_logprobs, by_answer, hidden_states, sorted_by_answer
from spavl.training.prefix_trees.tree import ScoredRow, prompt_messages, prompt_text

# The largest rounding error of the log-probability of a token, and (times 10) of gradients relative to their norm.
_SHARING_ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.05}


class SharingError(NamedTuple):
    """The largest change of a token's score by sharing, and the change of gradients relative to their norm."""

    scores: float
    # None if the device has too little memory for it.
    gradients: float | None


class InSinglePrecision(TorchFunctionMode):
    """Converts half-precision tensors where they are used: a second, converted model would not fit into memory."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, given: Any = (), named: Any = None) -> Any:
        given, named = tree_map(_half_as_float32, (given, named or {}))
        return function(*given, **named)


def _half_as_float32(value: Any) -> Any:
    if isinstance(value, Tensor) and value.dtype in HALF:
        return value.float()
    return torch.float32 if value in HALF and isinstance(value, torch.dtype) else value


def check_sharing(model: Any, processor: Any, rows: Sequence[ScoredRow]) -> SharingError:
    """Refuse a difference beyond rounding. Gradients are compared on the images of the first and the last row only."""
    trees, plain = (make_batch(model, processor, rows, share) for share in (True, False))
    ends = {rows[0].image_id, rows[-1].image_id}
    compared = [row for row in rows if row.image_id in ends]
    kind = model.device.type
    computed = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
    with _first_norms(model) as norms, in_single_precision(model):
        moved = SharingError(_scores_apart(model, trees, plain), _gradients_apart(model, processor, compared, norms))
    _refuse(model, moved, _SHARING_ROUNDING[torch.promote_types(model.dtype, torch.float32)])
    if computed in HALF:
        # In the precision of the loop, other kernels may be used.
        _refuse(model, SharingError(_scores_apart(model, trees, plain), None), _SHARING_ROUNDING[computed])
    return moved


def _refuse(model: Any, moved: SharingError, most: float) -> None:
    # Gradients sum the differences of all tokens.
    for name, value, bound in (("scores", moved.scores, most), ("gradients", moved.gradients, 10 * most)):
        if value is not None and not value <= bound:
            unit = "of a token by up to {:.2g} nats" if name == "scores" else "by {:.2g} of their norm"
            what = f"sharing prefixes changes this model's {name} {unit.format(value)}"
            then = "report this model; train it with training.share_prefixes = false: its plain rows are right"
            raise TrainingError(what, where=model.name_or_path, then=then)


@torch.no_grad()
def _scores_apart(model: Any, trees: TreeBatch, plain: TreeBatch) -> float:
    scores = [sorted_by_answer(answer_token_logprobs(model, batch), batch) for batch in (trees, plain)]
    return float((scores[0] - scores[1]).abs().max())


@torch.enable_grad()
def _gradients_apart(
    model: Any, processor: Any, rows: Sequence[ScoredRow], norms: Sequence[nn.Parameter]
) -> float | None:
    """The relative difference of gradients. Plain rows run one by one, which needs no more memory than their tree."""
    trees = make_batch(model, processor, rows)
    plain = [make_batch(model, processor, [row], share=False) for row in rows]
    try:
        found = _gradients(model, trees, 0, norms)
        expected = torch.stack([_gradients(model, each, number, norms) for number, each in enumerate(plain)]).sum(0)
    except torch.OutOfMemoryError:
        return None
    return float((found - expected).norm() / expected.norm())


def _gradients(model: Any, batch: TreeBatch, first: int, norms: Sequence[nn.Parameter]) -> Tensor:
    """The gradients of a sum of logits in which each answer has another weight, as in DPO.

    It is not a sum of log-probabilities: if a model is certain, their gradients are as small as their rounding errors.
    """
    hidden_TH = hidden_states(model, batch)[batch.row_T, batch.place_T]
    logit_T = (hidden_TH * model.lm_head.weight[batch.token_T.to(hidden_TH.device)]).sum(-1)
    weight_B = torch.pow(-0.9, torch.arange(first, first + batch.answers))
    torch.autograd.backward((logit_T * weight_B[batch.answer_T].to(logit_T)).sum(), inputs=list(norms))
    found = torch.cat([parameter.grad for parameter in norms if parameter.grad is not None])
    for parameter in norms:
        parameter.grad = None
    return found


@contextmanager
def _first_norms(model: Any) -> Iterator[list[nn.Parameter]]:
    """The norms of the first layer: their gradients pass through all layers."""
    norms = [parameter for parameter in layers_of(model)[0].parameters() if parameter.dim() == 1]
    before = [(parameter.data, parameter.requires_grad) for parameter in norms]
    for parameter in norms:
        parameter.data = _half_as_float32(parameter.data)
        parameter.requires_grad_(True)
    try:
        yield norms
    finally:
        for parameter, (data, trains) in zip(norms, before, strict=True):
            parameter.data = data
            parameter.requires_grad_(trains)


@contextmanager
def in_single_precision(model: Any) -> Iterator[None]:
    has_half = any(parameter.dtype in HALF for parameter in model.parameters())
    widening = InSinglePrecision() if has_half else nullcontext()
    # Recomputation in the backward pass would not be converted.
    again = [module for module in model.modules() if getattr(module, "gradient_checkpointing", False)]
    for module in again:
        module.gradient_checkpointing = False
    # cuDNN would round convolutions.
    with torch.autocast(model.device.type, enabled=False), torch.backends.cudnn.flags(enabled=False), widening:
        try:
            yield
        finally:
            for module in again:
                module.gradient_checkpointing = True


# The number of rows that are compared; they differ in length and image, so that the batch is padded.
_COMPARED = 6
# The largest rounding error of the log-probability of a token in float32.
_SCORE_ROUNDING = 1e-3
_THEN = "report this model: it would be trained on wrong scores"


@torch.no_grad()
def check_scores(model: Any, processor: Any, rows: Sequence[ScoredRow]) -> float:
    """Refuse a model whose rows get other scores than from its own code; returns the largest difference, in nats."""
    compared = _rows_to_compare(rows)
    with in_single_precision(model):
        try:
            own = [_own_scores(model, processor, row) for row in compared]
        except SpavlError:
            raise
        except Exception as error:  # any model, with inputs for which it may not be made
            what = f"{type(model).__name__} does not score what its processor makes of a conversation: {error}"
            raise TrainingError(what, where=model.name_or_path, then="train another model") from error
        batch = make_batch(model, processor, compared, share=False)
        scores = [torch.tensor(each) for each in by_answer(answer_token_logprobs(model, batch), batch)]
    apart = max(float((one.cpu() - other).abs().max()) for one, other in zip(own, scores, strict=True))
    if not apart <= _SCORE_ROUNDING:
        what = f"scores are up to {apart:.2g} nats a token off those of model(**processor(...)).logits"
        raise TrainingError(what, where=model.name_or_path, then=_THEN)
    return apart


def _rows_to_compare(rows: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The last row, which is the longest of the training, the longest of each third, and one of each image size.

    Answers come kind by kind (chosen, rejected, and those under a blank image), so each third contains other kinds.
    """
    last, third = [rows[-1]], -(-len(rows) // 3)
    longest = [max(rows[first : first + third], key=_length) for first in range(0, len(rows), third)]
    sizes = list({row.image.size: row for row in reversed(rows)}.values())
    return list({id(row): row for row in [*last, *longest, *sizes, *rows]}.values())[:_COMPARED]


def _length(row: ScoredRow) -> int:
    return len(row.question) + len(row.answer)


def _own_scores(model: Any, processor: Any, row: ScoredRow) -> Tensor:
    """The log-probability of each answer token by the model's own code."""
    inputs, spoken = _conversation(model, processor, row)
    ids = inputs["input_ids"][0].tolist()
    with _evaluation_mode(model):
        logits_TV = _own_logits(model, inputs)
    # In training mode the logits must be the same.
    if not (logits_TV - _own_logits(model, inputs)).abs().max() <= _SCORE_ROUNDING:
        what = f"{type(model).__name__} gives a row other scores each time, or in training mode: a part of it is random"
        raise TrainingError(what, where=model.name_or_path, then="set dropout and the like in its config.json to 0")
    answer_T = torch.tensor(spoken, device=logits_TV.device)
    # An end token that the template does not write is predicted at the last token.
    first = len(logits_TV) - _answer_tokens_at_end(ids, spoken) - 1
    other = next((token for token in spoken if token != ids[-1]), ids[-1])
    changed_TV = _own_logits(model, {**inputs, "input_ids": torch.tensor([[*ids[:-1], other]])})
    if not (logits_TV - changed_TV)[first:-1].abs().max() <= _SCORE_ROUNDING:
        what = f"{type(model).__name__} scores tokens of an answer by the tokens after them"
        raise TrainingError(what, where=model.name_or_path, then="train an autoregressive model")
    return token_logprobs(logits_TV[first : first + len(spoken)], answer_T)


@contextmanager
def _evaluation_mode(model: Any) -> Iterator[None]:
    """Run in evaluation mode, and restore the modes of all modules afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _own_logits(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    given = {name: each.to(model.device) for name, each in inputs.items()}
    logits_TV: Tensor = model(**given, use_cache=False).logits[0]
    return logits_TV


def _conversation(model: Any, processor: Any, row: ScoredRow) -> tuple[dict[str, Tensor], tuple[int, ...]]:
    """The processor's inputs for question and answer together, and the tokens of the answer, which end them."""
    text, turn, tokenizer = prompt_text(processor, row.question, row.system), turn_of(processor), processor.tokenizer
    written, images = as_written(tokenizer, text), [[row.image]]
    if isinstance(row.answer, str):
        _refuse_another_chat(processor, turn, row, row.answer, text)
        spoken = answer_tokens(tokenizer, turn, text, tokens_of(tokenizer, text), row.answer)
        if turn.is_apart:
            inputs = shown_by(processor, images=images, text=[text], suffix=[row.answer.strip()], **written)
        else:
            inputs = shown_by(processor, images=images, text=[text + said_in(turn, row.answer)], **written)
        if _answer_tokens_at_end(inputs["input_ids"][0].tolist(), spoken):
            return inputs, spoken
    else:
        spoken = row.answer
    # Sampled tokens may be the tokens of no text: extend the prompt as the model does when it generates.
    inputs = shown_by(processor, images=images, text=[text], **written)
    ids = torch.cat([inputs.pop("input_ids"), torch.tensor([spoken])], 1)
    for _ in spoken:
        inputs = model._update_model_kwargs_for_generation(ModelOutput(), inputs, is_encoder_decoder=False)
    return {"input_ids": ids, **inputs}, spoken


def _refuse_another_chat(processor: Any, turn: TemplateTurn, row: ScoredRow, answer: str, text: str) -> None:
    """Refuse a template whose text of a whole chat, on which models are trained, is not that of prompt and answer."""
    whole = written_by_template(processor, turn, prompt_messages(row.question, row.system), answer)
    if whole is not None and whole != (ours := text + said_in(turn, answer)):
        same = next((k for k, (one, other) in enumerate(zip(whole, ours, strict=False)) if one != other), len(ours))
        parted = f"{whole[same:][:40]!r} in a whole chat where {ours[same:][:40]!r} goes on from its question"
        what = f"the chat template writes {parted}"
        then = "correct the model's chat_template.jinja, or leave out answers that contain marks such as </think>"
        raise TrainingError(what, where=repr(row.question[:60]), then=then)


def _answer_tokens_at_end(ids: Sequence[int], spoken: Sequence[int]) -> int:
    """The number of the answer's tokens at the end of these ids: all, all but the end token, or none."""
    for length in (len(spoken), len(spoken) - 1):
        if length and list(ids[-length:]) == list(spoken[:length]):
            return length
    return 0
