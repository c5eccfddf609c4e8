"""How a model's chat template renders a question and an answer: what precedes its text, and what ends it."""

import inspect
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from spavl.errors import ConfigError
from spavl.text.final_answer import without_marks_of_thoughts

# The documented prompt formats of models without a chat template, by the class of the processor.
_ONE_QUESTION = {"PaliGemmaProcessor": "<image>{question}"}

_PROBE = "answer"
# The markers of gpt-oss: its thoughts begin with these two and a word between them.
_CHANNELS = ("<|channel|>", "<|message|>")
# Markers in the source of a template, such as </think> and [INST].
_MARK = re.compile(r"</?[^<>\s{}'\"]{1,60}>|\[/?[A-Z_]{2,40}\]")
# A token that is a marker and not a word or a blank: punctuation around a word.
_LIKE_A_MARK = re.compile(r"[^\w\s].*\w.*[^\w\s]", re.DOTALL)
# The date for templates that write the current date. With today's date, a policy and its reference would get different
# prompts after midnight, and evaluations would differ from day to day. It is the default of Llama's templates.
_THE_DAY = datetime(2024, 7, 26, tzinfo=UTC)
_ASKS_THE_DAY = re.compile(r"""strftime_now\s*\(\s*(['"])([^'"\\]*)\1\s*\)""")


class TemplateTurn(NamedTuple):
    """The text and the tokens that a template adds around an answer in the model's turn."""

    # Between the prompt and the text, such as the space after "Assistant:". None if the template does not write the
    # same before a finished turn as at the end of a prompt, as templates whose prompts open a block for thoughts.
    lead: str | None
    # After the text, through the marker that ends the turn; empty if the template writes no marker.
    end: str
    # The token of that marker; the tokenizer's end token if the template writes none.
    end_token: int
    # Whether the answer is tokenized separately from the prompt, as by processors with a `suffix` argument.
    is_apart: bool = False


# The turn of each processor, with the properties of the processor that it depends on.
_TURNS: WeakKeyDictionary[Any, tuple[Any, TemplateTurn]] = WeakKeyDictionary()


def prompt_of(processor: Any, messages: Sequence[Mapping[str, Any]], **settings: Any) -> str:
    """The prompt of a chat as text, with a placeholder for each image. `settings` are variables of the template."""
    if not _has_template(processor):
        return _one_question(processor, messages)
    if unknown := [name for name in settings if name not in (_template(processor) or "")]:
        then = "take it out of chat_template_kwargs, or see in chat_template.jinja what it is called"
        raise ConfigError(f"this model's chat template knows no {unknown[0]}", where=_place(processor), then=then)
    return _render_chat(processor, messages, asks=True, **settings)


def _template(processor: Any) -> str | None:
    own = processor.chat_template
    template: str | None = own.get("default") if isinstance(own, dict) else own
    return template


def _render_chat(processor: Any, messages: Sequence[Mapping[str, Any]], asks: bool, **settings: Any) -> str:
    """A chat rendered by the template, up to its last turn; if `asks`, with the generation prompt."""
    template = _template(processor)
    named = {"chat_template": _with_fixed_date(processor, template)} if template and "strftime_now" in template else {}
    text: str = processor.apply_chat_template(list(messages), add_generation_prompt=asks, **named, **settings)
    return text


def _with_fixed_date(processor: Any, template: str) -> str:
    """The template with a fixed date in place of the current one."""
    dated = _ASKS_THE_DAY.sub(lambda found: repr(_THE_DAY.strftime(found[2])), template)
    if re.search(r"strftime_now\s*\(", dated):
        what = "the chat template asks for today's date in words that were not read"
        then = "put a chat_template.jinja beside its processor's files in which a day is written"
        raise ConfigError(what, where=_place(processor), then=then)
    return dated


def shown_by(processor: Any, **given: Any) -> dict[str, Any]:
    """The processor's inputs for images and texts, without `labels`.

    Pass one list of images per row: some processors (Gemma 3's) take a flat list as the images of a single row.
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
    """The turn of a processor, found by rendering an example. Cached, since it is needed for every batch."""
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
    prompt = _render_chat(processor, asked, asks=True)
    whole = _render_chat(processor, [*asked, _message("assistant", _PROBE)], asks=False)
    before, _, after = whole.rpartition(_PROBE)
    lead = before[len(prompt) :] if before.startswith(prompt) else None
    marks = "|".join(map(re.escape, sorted(special_tokens(processor.tokenizer), key=len, reverse=True)))
    if (end := re.match(rf"\s*({marks})", after)) is None:
        return TemplateTurn(lead, "", processor.tokenizer.eos_token_id, is_apart)
    return TemplateTurn(lead, end[0], processor.tokenizer.convert_tokens_to_ids(end[1]), is_apart)


def written_by_template(
    processor: Any, turn: TemplateTurn, messages: Sequence[Mapping[str, Any]], answer: str
) -> str | None:
    """A chat with its answer, rendered by the template up to the end of the turn; None if there is no template."""
    if turn.is_apart or not _has_template(processor):
        return None
    spoken = _message("assistant", answer.strip())
    whole = _render_chat(processor, [*messages, spoken], asks=False)
    return whole[: whole.rindex(turn.end) + len(turn.end)] if turn.end and turn.end in whole else whole.rstrip()


def answer_tokens(
    tokenizer: Any, turn: TemplateTurn, prompt: str, before: Sequence[int], answer: str
) -> tuple[int, ...]:
    """The tokens of an answer after a prompt with the tokens `before`, through the token that ends the turn.

    It is tokenized together with its prompt, since the tokens of a word depend on the text before it.
    """
    said = said_in(turn, answer)
    whole = [] if turn.is_apart else tokens_of(tokenizer, prompt + said)
    goes_on = bool(whole) and whole[: len(before)] == list(before)
    spoken = whole[len(before) :] if goes_on else tokenizer(said, add_special_tokens=False)["input_ids"]
    return tuple(spoken) if turn.end else (*spoken, turn.end_token)


def said_in(turn: TemplateTurn, answer: str) -> str:
    """An answer's text with the lead and the end of the model's turn."""
    if turn.lead is None:
        what = "this model's chat template asks with words that a finished answer does not stand after, as <think>"
        then = "put a chat_template.jinja beside its processor's files that writes both alike, as with <think></think>"
        raise ConfigError(what, where="chat_template", then=then)
    return turn.lead + answer.strip() + turn.end


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, **as_written(tokenizer, text))["input_ids"])


def as_written(tokenizer: Any, text: str) -> dict[str, bool]:
    """Tokenizer arguments that avoid a second BOS token if the template has written one."""
    begun = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    return {"add_special_tokens": False} if begun else {}


def ends_of(model: Any, processor: Any) -> set[int]:
    """The tokens that end an answer: the template's, the tokenizer's, and those of the generation config."""
    own = model.generation_config.eos_token_id
    named = own if isinstance(own, list) else [own]
    return {turn_of(processor).end_token, processor.tokenizer.eos_token_id, *named} - {None}


def special_tokens(tokenizer: Any) -> set[str]:
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    return {*tokenizer.all_special_tokens, *added}


def marks_of(processor: Any) -> set[str]:
    """The strings that a question or an answer must not contain, because the model or its template interprets them.

    These are the special tokens, the markers in the template, and the tokens around thoughts, such as Qwen's </think>,
    which are often not special tokens.
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


def text_of_tokens(tokenizer: Any, tokens: Sequence[int]) -> str:
    """Tokens as text, without special tokens except those that separate thoughts from an answer."""
    special = special_tokens(tokenizer)
    telling = {each for each in special if each in _CHANNELS or without_marks_of_thoughts(each) != each}
    if not telling.intersection(tokenizer.convert_ids_to_tokens(list(tokens))):
        return str(tokenizer.decode(tokens, skip_special_tokens=True)).strip()
    text = str(tokenizer.decode(tokens, skip_special_tokens=False))
    for each in special - telling:
        text = text.replace(each, "")
    return text.strip()
