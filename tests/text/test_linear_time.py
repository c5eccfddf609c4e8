"""What a server sends is read in a time that grows with its length, whatever is in it."""

import time
from collections.abc import Callable

import pytest

from spavl.data.questions import quality_checks
from spavl.evaluation.answer_matching.rules import RULES
from spavl.evaluation.judgements import is_bare
from spavl.judges.chat import read_comparison, read_verdict
from spavl.judges.guards.published import _without_forgery, read_finding, read_graded, read_yes_no
from spavl.judges.refusal_regex import refuses_ordinary, seems_refused
from spavl.judges.response_format import plain, prompt, read_lines
from spavl.models.backends.openai_replies import not_taken
from spavl.publishing.exports.common import break_image_marks
from spavl.publishing.held_keys import _SHAPES
from spavl.text.degenerate import degeneration_of, is_empty
from spavl.text.final_answer import after_thoughts, final_answer
from spavl.text.language import declines_in, languages
from spavl.text.personal_data import find_personal_data
from spavl.text.safe_print import line
from spavl.text.secrets import without_userinfo
from spavl.text.tidy import holds_template_marks, looks_like_data, tidy

# A time by the square was 31 s at 320,000 characters, and so 0.5 s at this length; what is linear, a tenth of that.
LENGTH, MOST_SECONDS = 40_000, 0.25
UNITS = (
    *" \n\t\r.,;:-_*#'\"`()[]{}<>|/\\?!$=~„“”«»「」0aé中\0",
    *("\r\n", "\n\n ", " \n", "a ", "a\n", "A. ", "(A) ", "s1 ", "s1,", "S1, ", "1 ", "1, ", "1. ", "- ", "* ", "# "),
    *("? ", "a-", "a'", "'s ", "a.b ", "[[", "]]", "```", '"a', "„a", "~~a", "://a:", "_a@b.", "de44 1", "\\u00"),
    *("yes ", "no, ", "not ", "the ", "any ", "all ", "or ", "is not ", "option ", "answer ", "answer is "),
    *("i can ", "i am ", "as an ai ", "sorry ", "I'm sorry, but ", "unfortunately, ", "I can't see "),
    *("the image ", "there is a dog "),
    *("safe ", "unsafe\n", "verdict: ", "verdict: safe\n", "[RESULT]: ", "user:", "harm ", "\\text{", "\\boxed{"),
    *("<think>", "<think ", "</think", "</think>", "<|channel|>final", "<answer>", "<|im_start|>", "<|im_end|>"),
    *('{"answer": "', "call <b>", "call 1234567, ", ".eyJ", "-eyJa"),
)
# What follows the repeated part. Most patterns that fail late fail at this first one.
END, OTHER_ENDS = "x\x01", ("", " x", "\nverdict: safe")
QUESTION = "Is there a dog in the image?\nA. one\nB. two\n1. three\n2. four"
YES_NO = "Is there a dog in the image?"
FORM = {"verdict": ("safe", "unsafe"), "severity": ("0", "1", "2", "3"), "refuses": ("yes", "no")}


def _draft(text: str) -> quality_checks.QuestionDraft:
    return quality_checks.QuestionDraft(text, "question", False, False, "a prompt", languages()["en"], ("earlier one",))


def _each_language(text: str) -> None:
    for language in languages().values():
        declines_in(language, text)


READERS: dict[str, Callable[[str], object]] = {
    "all gates": lambda text: quality_checks.first_fault(_draft(text)),
    "the gate of several questions": lambda text: quality_checks.number(_draft(text)),
    "read_finding": read_finding,
    "read_finding after unsafe": lambda text: read_finding(f"unsafe\ns1{text}"),
    "read_graded": read_graded,
    "read_graded behind its mark": lambda text: read_graded(f"[RESULT]: safe{text.replace(chr(10), ' ')}"),
    "read_graded, hazard": lambda text: read_graded(f"[RESULT]: unsafe, score: 5\n[UNSAFE CATEGORY]: o1{text}"),
    "read_yes_no": read_yes_no,
    "read_verdict": read_verdict,
    "read_comparison": read_comparison,
    "a prompt's material": plain,
    "a published guard's material": _without_forgery,
    "seems_refused": seems_refused,
    "refuses_ordinary": refuses_ordinary,
    "degeneration_of": lambda text: degeneration_of(text, "stop"),
    "after_thoughts": after_thoughts,
    "final_answer": final_answer,
    "tidy": tidy,
    "template marks": holds_template_marks,
    "looks like data": looks_like_data,
    "declines_in": _each_language,
    "is_bare": is_bare,
    "is_empty": is_empty,
    "lines of a form": lambda text: read_lines(text, FORM),
    "a filled-in prompt": lambda text: prompt("guard-v3", image=text, question=text, answer=text),
    "not_taken": lambda text: not_taken(400, f"unsupported {text}".encode(), ()),
    "a line for a terminal": line,
    "an address": without_userinfo,
    "shapes of keys": lambda text: _SHAPES.search(text.encode()),
    "marks in exports": break_image_marks,
    "yes or no": lambda text: RULES["match/yes_no"](text, YES_NO, ("yes",)),
    "personal data": find_personal_data,
    "personal data, of Unicode": lambda text: find_personal_data(f"{text}é"),
    **{name: lambda text, rule=rule: rule(text, QUESTION, ("A",)) for name, rule in RULES.items()},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_takes_no_time_by_the_square(name: str) -> None:
    _reads_each_unit(READERS[name], END)


@pytest.mark.slow
@pytest.mark.parametrize("end", OTHER_ENDS)
@pytest.mark.parametrize("name", READERS)
def test_so_it_does_before_other_ends(name: str, end: str) -> None:
    _reads_each_unit(READERS[name], end)


def _reads_each_unit(read: Callable[[str], object], end: str) -> None:
    read("a first text, for what is loaded when it is first asked")
    for unit in UNITS:
        text = unit * (LENGTH // len(unit)) + end
        # Again where it was slow: a machine that stalls once is charged to the process it stalls.
        if (taken := _seconds(read, text)) >= MOST_SECONDS:
            taken = min(_seconds(read, text) for _ in range(3))
        assert taken < MOST_SECONDS, f"{taken:.2f} s for {unit!r} again and again before {end!r}"


def _seconds(read: Callable[[str], object], text: str) -> float:
    """Of this process alone, on however busy a machine."""
    began = time.process_time()
    read(text)
    return time.process_time() - began
