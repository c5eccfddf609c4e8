"""Answers are read in a time by their length: a model that loops and a server that sends pages hold up nobody."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from spavl.data.questions.quality_checks import QuestionDraft, first_fault
from spavl.evaluation.answer_matching.rules import RULES, rule
from spavl.evaluation.judgements import is_bare
from spavl.judges.guards.published import read_finding, read_graded, read_yes_no
from spavl.judges.refusal_regex import refuses_ordinary, seems_refused
from spavl.judges.response_format import prompt, read_lines
from spavl.text.degenerate import degeneration_of, is_empty
from spavl.text.final_answer import after_thoughts, final_answer
from spavl.text.language import languages
from spavl.text.tidy import tidy

# About what a model says in 2,048 tokens.
LENGTH = 10_000
# Where time goes by the square of the length it is more than twice as much: ten seconds and more at 20,000.
_MOST_SECONDS = 1.0
UNITS = (
    *" \n\t\ra1é中*_`<>[({\"'|-=:.,",
    *(
        "a ",
        "A. ",
        "(A) ",
        "no ",
        "yes, ",
        "not ",
        "the ",
        "1 ",
        "1, ",
        "1. ",
        "x\n",
        "- ",
        "* ",
        "# ",
        "a.b ",
        "'s ",
        "? ",
    ),
    *(
        "<think>",
        "</think>",
        "<|im_end|>",
        "\\boxed{",
        "```",
        "[[",
        "]]",
        "verdict: ",
        "verdict: safe\n",
        "safe ",
        "S1, ",
    ),
    *("I'm sorry, but ", "unfortunately, ", "I can't see ", "the answer is ", "answer: ", "there is a dog ", "is not "),
)
ENDS = ("", " x", "\nverdict: safe")
_YES_NO, _CHOICE = "Is there a dog in the image?", "What is it?\nA. a dog\nB. a cat\nC. a bird\nD. a fish"
_FORM = {"verdict": ("safe", "unsafe"), "severity": ("0", "1", "2", "3"), "refuses": ("yes", "no")}


def drafted(text: str) -> Any:
    return first_fault(QuestionDraft(text, "easy", False, False, "a prompt " * 50, languages()["en"], ["what is it?"]))


READERS: dict[str, Callable[[str], Any]] = {
    **{name: lambda text, name=name: rule(name)(text, _CHOICE, ["A"]) for name in RULES if "vqa" not in name},  # type: ignore[misc]
    "yes or no": lambda text: rule("match/yes_no")(text, _YES_NO, ["yes"]),
    "bare": is_bare,
    "form": lambda text: read_lines(text, _FORM),
    "finding": read_finding,
    "graded": read_graded,
    "judge's yes or no": read_yes_no,
    "refused": seems_refused,
    "refuses ordinary": refuses_ordinary,
    "degenerate": lambda text: degeneration_of(text, "stop"),
    "empty": is_empty,
    "after thoughts": after_thoughts,
    "final": final_answer,
    "tidy": tidy,
    "question": drafted,
    "filled in": lambda text: prompt("guard-v3", image=text, question=text, answer=text),
}


def seconds(read: Callable[[str], Any], text: str) -> float:
    """Of the processor, which other processes do not lengthen."""
    began = time.process_time()
    read(text)
    return time.process_time() - began


@pytest.mark.parametrize("reader", READERS)
def test_a_long_text_is_read_in_the_time_of_its_length(reader: str) -> None:
    read, slow = READERS[reader], dict[str, float]()
    read("a first text, for what is loaded when it is first asked")
    for unit in UNITS:
        for end in ENDS:
            text = unit * (LENGTH // len(unit)) + end
            # Again where it was slow: a machine that stalls once is charged to the process it stalls.
            if (took := seconds(read, text)) > _MOST_SECONDS:
                took = min(seconds(read, text) for _ in range(3))
            if took > _MOST_SECONDS:
                slow[f"{unit!r} ... {end!r}"] = took
    assert not slow
