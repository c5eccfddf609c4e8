"""Answers scored without a judge, each rule by its name.

A rule returns 1 for right, 0 for wrong, a value between if its authors do, and None if it cannot read the answer. Our
rules are named after what they read, and find an answer after thoughts or in a box, a tag, JSON or Markdown. Rules
named after a benchmark are its authors' own, faults included; a suffix `-llava` or `-lmms-eval` names another author.
They are reported beside ours so that results can be compared with published ones.
"""

import functools
import string
from collections.abc import Callable, Sequence

from spavl.errors import ConfigError
from spavl.evaluation.answer_matching import published_rules as published
from spavl.evaluation.answer_matching.choice_reader import said_option
from spavl.evaluation.answer_matching.number_reader import said_number, said_numbered
from spavl.evaluation.answer_matching.vqa_words import as_people_say, as_vqa
from spavl.evaluation.answer_matching.yes_no_reader import said_yes
from spavl.text.final_answer import final_answer

# The answer, the question it answers, and the right answers.
Rule = Callable[[str, str, Sequence[str]], float | None]

_NO_MARKS = str.maketrans("", "", string.punctuation)


def rule(name: str) -> Rule:
    if name not in RULES:
        raise ConfigError(f"no rule of matching is called {name!r}", then=f"the rules are {', '.join(RULES)}")
    return RULES[name]


def _yes_no(answer: str, question: str, references: Sequence[str]) -> float | None:
    """Ours: yes or no, if stated; a refusal or a doubt is unread."""
    said = said_yes(answer, question)
    return None if said is None else float(said == (references[0].casefold() == "yes"))


def _number(answer: str, question: str, references: Sequence[str]) -> float | None:
    """Ours: the only number in the answer, in digits or words."""
    said = said_number(answer)
    return None if said is None else float(said in {said_number(each) for each in references})


def _short(answer: str, question: str, references: Sequence[str]) -> float | None:
    """Ours: yes or no, or the only number, whichever the right answer is."""
    kind = _number if said_yes(references[0]) is None else _yes_no
    return kind(answer, question, references)


def _numbered_option(answer: str, question: str, references: Sequence[str]) -> float | None:
    """Ours: the number of an option: the one called the answer, or else the only one named."""
    said = said_numbered(answer, question)
    return None if said is None else float(said == references[0])


def _choice(answer: str, question: str, references: Sequence[str]) -> float | None:
    """Ours: the letter of an option, or its text, if exactly one option is taken."""
    said = said_option(answer, question)
    return None if said is None else float(said == references[0])


def _exact(answer: str, question: str, references: Sequence[str]) -> float:
    """Ours, and lmms-eval's for GQA: the same words, ignoring case and punctuation."""
    return float(_bare(answer) in map(_bare, references))


def _consensus(answer: str, question: str, references: Sequence[str]) -> float:
    """Ours, and lmms-eval's for VQAv2: VQA accuracy, with the answer and the people's answers normalized."""
    return as_people_say(_vqa_spelling(answer), [_vqa_spelling(each) for each in references])


@functools.lru_cache(maxsize=65536)
def _vqa_spelling(text: str) -> str:
    return as_vqa(final_answer(text).strip("*_`# "))


def _bare(text: str) -> str:
    return final_answer(text).translate(_NO_MARKS).lower().strip()


RULES: dict[str, Rule] = {
    "match/yes_no": _yes_no,
    "match/number": _number,
    "match/short": _short,
    "match/choice": _choice,
    "match/numbered": _numbered_option,
    "match/exact": _exact,
    "match/consensus": _consensus,
    **{f"match/{name}": own for name, own in published.RULES.items()},
}
# Rules that cannot read a refusal: what they can read is an answer.
_READERS = frozenset({"match/yes_no", "match/number", "match/short", "match/choice", "match/numbered"})


def is_answer(name: str, told: float | None) -> bool:
    """Whether a rule's value shows that a text answers the question: it is right, or one of our rules could read it."""
    return told == 1 or (told is not None and name in _READERS)
