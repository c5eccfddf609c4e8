"""Answers are written as each family's own template writes them, and end with the mark that it ends a turn with."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.utils import chat_template_utils

from spavl.errors import ConfigError
from spavl.models.chat_template import as_written, ends_of, said_in, tokens_of, turn_of, written_by_template
from spavl.training.prefix_trees.tree import ScoredRow, encode, prompt_messages, prompt_text, row_of
from tests.support.processors import PROCESSORS

QUESTION, ANSWER = "How do I wake this?", "I can not help with that."
MADE = {kind: make() for kind, make in PROCESSORS.items()}
# The answer's first token, and the mark that ends it; the template writes none for LLaVA, which takes the tokenizer's.
WRITTEN = {
    "llava": ("▁I", "</s>"),
    "llava_next": ("▁I", "</s>"),
    "smolvlm": ("ĠI", "<end_of_utterance>"),
    "qwen2_vl": ("I", "<|im_end|>"),
    "internvl": ("I", "<|im_end|>"),
    "gemma3": ("I", "<end_of_turn>"),
}


def answer_of(processor: Any, answer: str) -> list[str]:
    text = prompt_text(processor, QUESTION, None)
    path = row_of(processor.tokenizer, turn_of(processor), text, answer)
    assert list(path.tokens[: path.answer]) == tokens_of(processor.tokenizer, text)
    return list(processor.tokenizer.convert_ids_to_tokens(path.tokens[path.answer :]))


@pytest.mark.parametrize("kind", PROCESSORS)
def test_an_answer_begins_and_ends_as_in_its_familys_template(kind: str) -> None:
    processor, (first, end) = MADE[kind], WRITTEN[kind]
    found = answer_of(processor, ANSWER)
    assert (found[0], found[-1]) == (first, end)
    assert found == answer_of(processor, f" {ANSWER}\n"), "white space round an answer is none of its words"
    named = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=None))
    ends = processor.tokenizer.convert_tokens_to_ids([end, processor.tokenizer.eos_token])
    assert ends_of(named, processor) == set(ends), "where it is taught to stop, it is heard to stop"


texts = st.text("abe IiTdkn.,?!:()<>\n'", min_size=1, max_size=30).filter(lambda text: text.strip())


@pytest.mark.parametrize("kind", PROCESSORS)
@given(texts)
@settings(max_examples=25)
def test_prompt_and_answer_are_the_tokens_of_the_whole_chat(kind: str, answer: str) -> None:
    processor = MADE[kind]
    tokenizer, prompt = processor.tokenizer, prompt_text(processor, QUESTION, None)
    spoken = {"role": "assistant", "content": [{"type": "text", "text": answer.strip()}]}
    chat = processor.apply_chat_template([*prompt_messages(QUESTION, None), spoken])
    end = WRITTEN[kind][1]
    whole = chat[: chat.rindex(end)] if end in chat[len(prompt) :] else chat.rstrip()
    path = row_of(tokenizer, turn_of(processor), prompt, answer)
    assert tokenizer.decode(path.tokens[path.answer :]).strip() == f"{answer.strip()}{end}"
    expected = tokens_of(tokenizer, whole)
    # A tokenizer that takes the prompt's last letter into the answer's first word makes a row nobody would be asked.
    if expected[: path.answer] == list(path.tokens[: path.answer]):
        assert list(path.tokens) == [*expected, tokenizer.convert_tokens_to_ids(end)]


@pytest.mark.parametrize("kind", PROCESSORS)
def test_a_beginning_is_marked_once(kind: str) -> None:
    """Gemma's template and its tokenizer would both write one."""
    processor = MADE[kind]
    rows = [ScoredRow("1", Image.new("RGB", (64, 64)), question, ANSWER) for question in (QUESTION, "Turn the knob.")]
    encoded = encode(processor, rows, "image")
    for path in encoded.groups[0].paths:
        assert path.tokens[0] != path.tokens[1]
        assert path.tokens.count(processor.tokenizer.bos_token_id) == (processor.tokenizer.bos_token is not None)
        assert path.tokens[path.answer :] == encoded.groups[0].paths[0].tokens[encoded.groups[0].paths[0].answer :]
    assert as_written(processor.tokenizer, "no mark") == {}


def test_a_template_that_asks_with_words_no_finished_turn_has_is_refused() -> None:
    """One that thinks aloud before it answers: answers would be taught among the thoughts."""
    processor = PROCESSORS["qwen2_vl"]()
    begun, over = "<|im_start|>assistant\n", "{% endif %}"
    processor.chat_template = processor.chat_template.replace(begun + over, f"{begun}<think>\n{over}")
    assert prompt_text(processor, QUESTION, None).endswith("<think>\n")
    assert turn_of(processor)[:2] == (None, "<|im_end|>"), "it may still be asked"
    with pytest.raises(ConfigError, match="does not stand after, as <think>"):
        answer_of(processor, ANSWER)


def test_a_block_for_thoughts_that_finished_turns_have_too_is_written_empty() -> None:
    processor = PROCESSORS["qwen2_vl"]()
    closed = "{% if message['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    asked = "<|im_start|>{{ message['role'] }}\n"
    begun, over = "<|im_start|>assistant\n", "{% endif %}"
    template = processor.chat_template.replace(asked, asked + closed)
    processor.chat_template = template.replace(begun + over, f"{begun}<think>\n{over}")
    assert turn_of(processor)[:2] == ("\n</think>\n\n", "<|im_end|>")


def test_a_template_that_writes_the_day_writes_the_same_one_every_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """After midnight a policy was asked otherwise than its reference, and cached references were never found again."""
    processor = PROCESSORS["qwen2_vl"]()
    dated = "<|im_start|>system\nToday is {{ strftime_now('%d %b %Y') }}.<|im_end|>\n"
    processor.chat_template = dated + processor.chat_template
    written = set()
    for day in (29, 30):
        today = SimpleNamespace(now=lambda day=day: datetime(2026, 11, day))
        monkeypatch.setattr(chat_template_utils, "datetime", today)
        turn = turn_of(processor)
        whole = written_by_template(processor, turn, prompt_messages(QUESTION, None), ANSWER)
        text = prompt_text(processor, QUESTION, None)
        assert turn.end == "<|im_end|>" and whole == text + said_in(turn, ANSWER)
        written.add(text)
    assert len(written) == 1 and "Today is 26 Jul 2024." in written.pop()
    processor.chat_template = {"default": processor.chat_template, "tool_use": "{{ strftime_now('%d') }}"}
    assert "Today is 26 Jul 2024." in prompt_text(processor, QUESTION, None)
    processor.chat_template = processor.chat_template["default"].replace("'%d %b %Y'", "'%d' ~ ' %b'")
    with pytest.raises(ConfigError, match="today's date in words that were not read"):
        prompt_text(processor, QUESTION, None)


def test_a_turn_is_found_once_for_a_processor_until_its_template_or_its_words_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was rendered anew for every batch, and thousands of marks sorted for it."""
    processor, asked = PROCESSORS["gemma3"](), 0
    render = processor.apply_chat_template

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        return render(*given, **named)

    monkeypatch.setattr(processor, "apply_chat_template", counted)
    assert turn_of(processor) == turn_of(processor) and asked == 2
    processor.tokenizer.add_special_tokens({"additional_special_tokens": ["<over>"]})
    processor.chat_template = processor.chat_template.replace("<end_of_turn>", "<over>")
    assert turn_of(processor).end == "<over>" and asked == 4
