"""How a model's own chat template writes an answer: what stands before its text, and the mark that ends it."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_PROBE = "answer"


class Turn(NamedTuple):
    """What surrounds an answer's text in the model's turn."""

    # Between the prompt and the text, such as the space after "Assistant:".
    lead: str
    # After the text, through the mark that ends the turn; nothing where the template writes no mark.
    end: str
    # The mark, as a token; where the template writes none, the tokenizer's end.
    end_token: int


def turn_of(processor: Any) -> Turn:
    """Found by having the template write one."""
    asked = [_message("user", "?")]
    prompt = processor.apply_chat_template(asked, add_generation_prompt=True)
    whole = processor.apply_chat_template([*asked, _message("assistant", _PROBE)], add_generation_prompt=False)
    before, _, after = whole.rpartition(_PROBE)
    # A template may write a turn that is over otherwise than one that is about to begin; then nothing is added.
    lead = before[len(prompt) :] if before.startswith(prompt) else ""
    marks = "|".join(map(re.escape, sorted(special_tokens(processor.tokenizer), key=len, reverse=True)))
    if (end := re.match(rf"\s*({marks})", after)) is None:
        return Turn(lead, "", processor.tokenizer.eos_token_id)
    return Turn(lead, end[0], processor.tokenizer.convert_tokens_to_ids(end[1]))


def answer_tokens(tokenizer: Any, turn: Turn, prompt: str, before: Sequence[int], answer: str) -> tuple[int, ...]:
    """An answer as it goes on after a prompt, whose tokens are `before`, through the token that ends it.

    It is read together with its prompt: what a tokenizer makes of a word hangs on what stands before it.
    """
    said = turn.lead + answer.strip() + turn.end
    whole = tokens_of(tokenizer, prompt + said)
    goes_on = whole[: len(before)] == list(before)
    spoken = whole[len(before) :] if goes_on else tokenizer(said, add_special_tokens=False)["input_ids"]
    return tuple(spoken) if turn.end else (*spoken, turn.end_token)


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, **as_written(tokenizer, text))["input_ids"])


def as_written(tokenizer: Any, text: str) -> dict[str, bool]:
    """A template that has written the mark of a beginning wants no second one from the tokenizer."""
    begun = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    return {"add_special_tokens": False} if begun else {}


def ends_of(model: Any, processor: Any) -> set[int]:
    """The tokens that end an answer: the template's mark, the tokenizer's end, and those that the model names."""
    own = model.generation_config.eos_token_id
    named = own if isinstance(own, list) else [own]
    return {turn_of(processor).end_token, processor.tokenizer.eos_token_id, *named} - {None}


def special_tokens(tokenizer: Any) -> set[str]:
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    return {*tokenizer.all_special_tokens, *added}


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}
