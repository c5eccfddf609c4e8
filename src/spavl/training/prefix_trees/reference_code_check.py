"""Before a training starts: plain rows score as the code of the model's makers scores them.

That is their processor, called on a whole conversation, and their forward, asked for all its logits. What is scored
of a row otherwise, such as marks of tokens, positions, or a cap on logits, is found here and not in the trained model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
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
from spavl.training.prefix_trees.batch import make_batch
from spavl.training.prefix_trees.exactness_check import in_single_precision
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, by_answer
from spavl.training.prefix_trees.tokenize import ScoredRow, prompt_messages, prompt_text

# Rows that are compared, of different lengths and images, and so padded in a batch.
_COMPARED = 6
# The most that the order of sums may move the log-probability of a token, in single precision.
_ROUNDING = 1e-3
_THEN = "report this model: it would be trained on other scores than its own"


@torch.no_grad()
def check_scores(model: Any, processor: Any, rows: Sequence[ScoredRow]) -> float:
    """Refuse a model whose rows score otherwise than by its makers' code; gives how far any token is off, in nats."""
    few = _few(rows)
    with in_single_precision(model):
        try:
            own = [_own_scores(model, processor, row) for row in few]
        except SpavlError:
            raise
        except Exception as error:  # a model of any kind, given what it may not have been made for
            what = f"{type(model).__name__} does not score what its processor makes of a conversation: {error}"
            raise TrainingError(what, where=model.name_or_path, then="train another model") from error
        batch = make_batch(model, processor, few, share=False)
        scores = [torch.tensor(each) for each in by_answer(answer_token_logprobs(model, batch), batch)]
    apart = max(float((one.cpu() - other).abs().max()) for one, other in zip(own, scores, strict=True))
    if not apart <= _ROUNDING:
        what = f"rows score up to {apart:.2g} nats a token off what model(**processor(...)).logits says of them"
        raise TrainingError(what, where=model.name_or_path, then=_THEN)
    return apart


def _few(rows: Sequence[ScoredRow]) -> list[ScoredRow]:
    """The last one, which is the longest of a training, the longest of each kind, and one of each size of image.

    Answers come by kinds, the chosen ones before the rejected ones, and then those under a blank image: each third
    of them has another.
    """
    last, third = [rows[-1]], -(-len(rows) // 3)
    longest = [max(rows[first : first + third], key=_length) for first in range(0, len(rows), third)]
    sizes = list({row.image.size: row for row in reversed(rows)}.values())
    return list({id(row): row for row in [*last, *longest, *sizes, *rows]}.values())[:_COMPARED]


def _length(row: ScoredRow) -> int:
    return len(row.question) + len(row.answer)


def _own_scores(model: Any, processor: Any, row: ScoredRow) -> Tensor:
    """The log-probability of each of an answer's tokens, by itself and without anything of ours."""
    inputs, spoken = _conversation(model, processor, row)
    ids = inputs["input_ids"][0].tolist()
    with _asked(model):
        logits_TV = _own_logits(model, inputs)
    # As it is trained, a model must say the same.
    if not (logits_TV - _own_logits(model, inputs)).abs().max() <= _ROUNDING:
        what = (
            f"{type(model).__name__} scores one row otherwise each time, or while it is trained: something in it draws "
        )
        what += "lots, as dropout does"
        raise TrainingError(what, where=model.name_or_path, then="set whatever drops in its config.json to 0")
    answer_T = torch.tensor(spoken, device=logits_TV.device)
    # The end that no template writes is predicted at the last token that is there.
    first = len(logits_TV) - _written(ids, spoken) - 1
    other = next((token for token in spoken if token != ids[-1]), ids[-1])
    changed_TV = _own_logits(model, {**inputs, "input_ids": torch.tensor([[*ids[:-1], other]])})
    if not (logits_TV - changed_TV)[first:-1].abs().max() <= _ROUNDING:
        what = f"{type(model).__name__} scores an answer's tokens by what comes after them"
        raise TrainingError(what, where=model.name_or_path, then="train a model that writes one token after the other")
    return token_logprobs(logits_TV[first : first + len(spoken)], answer_T)


@contextmanager
def _asked(model: Any) -> Iterator[None]:
    """As it is when it answers."""
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
    """What the processor makes of question and answer together, and the answer's tokens, which end it."""
    text, turn, tokenizer = prompt_text(processor, row.question, row.system), turn_of(processor), processor.tokenizer
    written, images = as_written(tokenizer, text), [[row.image]]
    if isinstance(row.answer, str):
        _refuse_another_chat(processor, turn, row, row.answer, text)
        spoken = answer_tokens(tokenizer, turn, text, tokens_of(tokenizer, text), row.answer)
        if turn.is_apart:
            inputs = shown_by(processor, images=images, text=[text], suffix=[row.answer.strip()], **written)
        else:
            inputs = shown_by(processor, images=images, text=[text + said_in(turn, row.answer)], **written)
        if _written(inputs["input_ids"][0].tolist(), spoken):
            return inputs, spoken
    else:
        spoken = row.answer
    # Tokens that no text is read as, as where an answer was drawn: the model's own way of going on from a prompt.
    inputs = shown_by(processor, images=images, text=[text], **written)
    ids = torch.cat([inputs.pop("input_ids"), torch.tensor([spoken])], 1)
    for _ in spoken:
        inputs = model._update_model_kwargs_for_generation(ModelOutput(), inputs, is_encoder_decoder=False)
    return {"input_ids": ids, **inputs}, spoken


def _refuse_another_chat(processor: Any, turn: TemplateTurn, row: ScoredRow, answer: str, text: str) -> None:
    """What a template makes of a whole chat is what a model is made for: to ask and to go on must give the same."""
    whole = written_by_template(processor, turn, prompt_messages(row.question, row.system), answer)
    if whole is not None and whole != (ours := text + said_in(turn, answer)):
        same = next((k for k, (one, other) in enumerate(zip(whole, ours, strict=False)) if one != other), len(ours))
        parted = f"{whole[same:][:40]!r} in a whole chat where {ours[same:][:40]!r} goes on from its question"
        what = f"the chat template writes {parted}"
        then = "mend the model's chat_template.jinja; or leave out answers that hold marks such as </think>"
        raise TrainingError(what, where=repr(row.question[:60]), then=then)


def _written(ids: Sequence[int], spoken: Sequence[int]) -> int:
    """How many of an answer's tokens end these; all, or all but the end, or none."""
    for length in (len(spoken), len(spoken) - 1):
        if length and list(ids[-length:]) == list(spoken[:length]):
            return length
    return 0
