"""How questions with short answers are asked, in the words of LLaVA's scripts and of lmms-eval."""

import re
from collections.abc import Sequence
from string import ascii_uppercase

_OPTION = re.compile(r"([A-Z])\. (.*)")
BY_LETTER = "Answer with the option's letter from the given choices directly."
IN_A_WORD = "Answer the question using a single word or phrase."
OR_UNANSWERABLE = f"When the provided information is insufficient, respond with 'Unanswerable'.\n{IN_A_WORD}"


def asked_with(question: str, options: Sequence[str]) -> str:
    """Multiple choice: a line for each option, by letter."""
    lines = [f"{letter}. {' '.join(option.split())}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    return "\n".join([question, *lines, BY_LETTER])


def ended_with(question: str, ending: str) -> str:
    """The question with the instruction how to answer it, which some tables hold already."""
    return f"{question.strip().removesuffix(ending).rstrip()}\n{ending}"


def options_of(question: str) -> dict[str, str]:
    """The options that a question ends with: its last lines of this form, from A on."""
    found: dict[str, str] = {}
    for line in question.splitlines():
        if not (option := _OPTION.fullmatch(line)):
            continue
        if option[1] == "A":
            found = {}
        if option[1] == ascii_uppercase[len(found)]:
            found[option[1]] = option[2]
    return found
