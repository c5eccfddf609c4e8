"""How a model's chat template renders a question and an answer: what precedes its text, and what ends it."""

import inspect
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from spavl.errors import ConfigError
from spavl.text.final_answer import without_marks_of_thoughts

# How the makers of models without chats have a question written, where their processor leaves that to its caller.
_ONE_QUESTION = {"PaliGemmaProcessor": "<image>{question}"}

_PROBE = "answer"
# Of gpt-oss, whose thoughts begin by two marks and a word.
_CHANNELS = ("<|channel|>", "<|message|>")
# What a template's source writes as marks, such as </think> and [INST].
_MARK = re.compile(r"</?[^<>\s{}'\"]{1,60}>|\[/?[A-Z_]{2,40}\]")
# A token that stands for a mark and for no word or blank.
_LIKE_A_MARK = re.compile(r"[^\w\s].*\w.*[^\w\s]", re.DOTALL)
# Of templates that write the day. Were it today's, a policy would be asked otherwise than its reference after midnight,
# and a model examined otherwise each day. Llama's templates fall back on this one by themselves.
_THE_DAY = datetime(2024, 7, 26, tzinfo=UTC)
_ASKS_THE_DAY = re.compile(r"""strftime_now\s*\(\s*(['"])([^'"\\]*)\1\s*\)""")


class TemplateTurn(NamedTuple):
    """What surrounds an answer's text in the model's turn."""

    # Between the prompt and the text, such as the space after "Assistant:". None where the template writes a turn that
    # is over otherwise than one that is about to begin, as those that open a block for thoughts when they ask.
    lead: str | None
    # After the text, through the mark that ends the turn; nothing where the template writes no mark.
    end: str
    # The mark, as a token; where the template writes none, the tokenizer's end.
    end_token: int
    # Whether an answer is read apart from its prompt, by processors that take it as their `suffix`.
    is_apart: bool = False


# Of each processor, with what of it the turn depends on.
_TURNS: WeakKeyDictionary[Any, tuple[Any, TemplateTurn]] = WeakKeyDictionary()


def prompt_of(processor: Any, messages: Sequence[Mapping[str, Any]], **settings: Any) -> str:
    """A chat that ends before an answer, as text in which an image is still a mark. `settings` are the template's."""
    if not _has_template(processor):
        return _one_question(processor, messages)
    if unknown := [name for name in settings if name not in (_template(processor) or "")]:
        then = "take it out of chat_template_kwargs, or see in chat_template.jinja what it is called"
        raise ConfigError(f"this model's chat template knows no {unknown[0]}", where=_place(processor), then=then)
    return _written(processor, messages, asks=True, **settings)


def _template(processor: Any) -> str | None:
    own = processor.chat_template
    template: str | None = own.get("default") if isinstance(own, dict) else own
    return template


def _written(processor: Any, messages: Sequence[Mapping[str, Any]], asks: bool, **settings: Any) -> str:
    """A chat as the template writes it, through words that ask for an answer or through its last turn."""
    template = _template(processor)
    named = {"chat_template": _dated(processor, template)} if template and "strftime_now" in template else {}
    text: str = processor.apply_chat_template(list(messages), add_generation_prompt=asks, **named, **settings)
    return text


def _dated(processor: Any, template: str) -> str:
    """A template that asks for the day, with one day in its place."""
    dated = _ASKS_THE_DAY.sub(lambda found: repr(_THE_DAY.strftime(found[2])), template)
    if re.search(r"strftime_now\s*\(", dated):
        what = "the chat template asks for today's date in words that were not read"
        then = "put a chat_template.jinja beside its processor's files in which a day is written"
        raise ConfigError(what, where=_place(processor), then=then)
    return dated


def shown_by(processor: Any, **given: Any) -> dict[str, Any]:
    """What a model is given of images and texts, without what is meant for a loss of its own.

    Images are to be given by rows: of a mere list of several, some processors (Gemma 3's) believe that all are of one.
    """
    made = processor(return_tensors="pt", **given)
    return {name: value for name, value in made.items() if name != "labels"}


def _has_template(processor: Any) -> bool:
    return getattr(processor, "chat_template", None) is not None


def _one_question(processor: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    kind = next((name for name in map(_name, type(processor).__mro__) if name in _ONE_QUESTION), None)
    if kind is None:
        what = f"this model's {type(processor).__name__} has no chat template, so nothing says how to ask it"
        then = "put a chat_template.jinja beside its processor's files, which writes questions as it was taught them"
        raise ConfigError(what, where=_place(processor), then=then)
    parts = [[part["type"] for part in message["content"]] for message in messages]
    if parts != [["image", "text"]]:
        then = "ask one question about one image, without a system prompt; or give its processor a chat_template.jinja"
        raise ConfigError(f"without a chat template, {kind} takes no chats", where=_place(processor), then=then)
    return _ONE_QUESTION[kind].format(question=messages[0]["content"][1]["text"])


def _name(kind: type) -> str:
    return kind.__name__


def _place(processor: Any) -> str:
    return str(getattr(processor.tokenizer, "name_or_path", "") or type(processor).__name__)


def turn_of(processor: Any) -> TemplateTurn:
    """Found by having the template write one, and kept: this is asked for every batch."""
    tokenizer = processor.tokenizer
    template = processor.chat_template if _has_template(processor) else None
    known = (template, len(tokenizer), tokenizer.eos_token_id)
    if _TURNS.get(processor, (None, None))[0] != known:
        _TURNS[processor] = known, _turn_of(processor)
    return _TURNS[processor][1]


def _turn_of(processor: Any) -> TemplateTurn:
    is_apart = "suffix" in inspect.signature(processor.__call__).parameters
    if not _has_template(processor):
        return TemplateTurn("", "", processor.tokenizer.eos_token_id, is_apart)
    asked = [_message("user", "?")]
    prompt = _written(processor, asked, asks=True)
    whole = _written(processor, [*asked, _message("assistant", _PROBE)], asks=False)
    before, _, after = whole.rpartition(_PROBE)
    lead = before[len(prompt) :] if before.startswith(prompt) else None
    marks = "|".join(map(re.escape, sorted(special_tokens(processor.tokenizer), key=len, reverse=True)))
    if (end := re.match(rf"\s*({marks})", after)) is None:
        return TemplateTurn(lead, "", processor.tokenizer.eos_token_id, is_apart)
    return TemplateTurn(lead, end[0], processor.tokenizer.convert_tokens_to_ids(end[1]), is_apart)


def written_by_template(
    processor: Any, turn: TemplateTurn, messages: Sequence[Mapping[str, Any]], answer: str
) -> str | None:
    """A chat with its answer through the end of the turn, where the template itself writes it."""
    if turn.is_apart or not _has_template(processor):
        return None
    spoken = _message("assistant", answer.strip())
    whole = _written(processor, [*messages, spoken], asks=False)
    return whole[: whole.rindex(turn.end) + len(turn.end)] if turn.end and turn.end in whole else whole.rstrip()


def answer_tokens(
    tokenizer: Any, turn: TemplateTurn, prompt: str, before: Sequence[int], answer: str
) -> tuple[int, ...]:
    """An answer as it goes on after a prompt, whose tokens are `before`, through the token that ends it.

    It is read together with its prompt: what a tokenizer makes of a word depends on what stands before it.
    """
    said = said_in(turn, answer)
    whole = [] if turn.is_apart else tokens_of(tokenizer, prompt + said)
    goes_on = bool(whole) and whole[: len(before)] == list(before)
    spoken = whole[len(before) :] if goes_on else tokenizer(said, add_special_tokens=False)["input_ids"]
    return tuple(spoken) if turn.end else (*spoken, turn.end_token)


def said_in(turn: TemplateTurn, answer: str) -> str:
    """An answer's text as it stands in the model's turn."""
    if turn.lead is None:
        what = "this model's chat template asks with words that a finished answer does not stand after, as <think>"
        then = "put a chat_template.jinja beside its processor's files that writes both alike, as with <think></think>"
        raise ConfigError(what, where="chat_template", then=then)
    return turn.lead + answer.strip() + turn.end


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


def marks_of(processor: Any) -> set[str]:
    """What no question and no answer may hold, for the model or its template reads it as more than words.

    Those are its special tokens, the marks that its template names, and its tokens for thoughts, such as Qwen's
    </think>, which are often no special ones.
    """
    tokenizer = processor.tokenizer
    templates = [getattr(each, "chat_template", None) or "" for each in (processor, tokenizer)]
    source = "\n".join(str(each) for each in templates)
    added = {str(token) for token in tokenizer.added_tokens_decoder.values()}
    named = {token for token in added if token in source and _LIKE_A_MARK.fullmatch(token)}
    thoughts = {token for token in added if without_marks_of_thoughts(token) != token}
    return special_tokens(tokenizer) | named | thoughts | set(_MARK.findall(source))


def _message(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def spelled(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Tokens as text, without special ones but for those that tell thoughts from an answer."""
    special = special_tokens(tokenizer)
    telling = {each for each in special if each in _CHANNELS or without_marks_of_thoughts(each) != each}
    if not telling.intersection(tokenizer.convert_ids_to_tokens(list(tokens))):
        return str(tokenizer.decode(tokens, skip_special_tokens=True)).strip()
    text = str(tokenizer.decode(tokens, skip_special_tokens=False))
    for each in special - telling:
        text = text.replace(each, "")
    return text.strip()
