"""Rules that score answers as published scripts do, faults included. Each docstring begins with the authors."""

import re
from collections.abc import Callable, Sequence

from spavl.evaluation.answer_matching.vqa_words import as_people_say, as_textvqa, as_vqa, on_one_line, without_marks
from spavl.evaluation.benchmarks.ability.instructions import options_of

_TO_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# What the authors of OODCV-VQA search for, anywhere in the answer.
_OODCV = {
    "Yes": ("yes", "Yes", "yeah", "Yeah"),
    "No": ("no", "No", "nope", "Nope"),
    "0": ("none", "no", "zero"),
    "1": ("one", "single", "1"),
} | {str(number): (_TO_TEN[number], str(number)) for number in range(2, 11)}
_ANSWER_IS = re.compile(r"The answer is ([A-Z]).")


def _pope(answer: str, question: str, references: Sequence[str]) -> float:
    """POPE's authors: an answer without a no in its first sentence is a yes."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    said = "no" if {"No", "not", "no"} & set(words) else "yes"
    return float(said == references[0].casefold())


def _scienceqa(answer: str, question: str, references: Sequence[str]) -> float:
    """ScienceQA's authors: the letter in the only `The answer is X.`; else a random option, worth 1 / their number."""
    options, said = options_of(question), _ANSWER_IS.findall(answer.strip())
    if len(said) == 1 and said[0] in options:
        return float(said[0] == references[0])
    return 1 / len(options) if options else 0.0


def _scienceqa_llava(answer: str, question: str, references: Sequence[str]) -> float:
    """The script of LLaVA: `X`, `X. ...` or the only `The answer is X.`; anything else is wrong."""
    text, said = answer.strip(), _ANSWER_IS.findall(answer)
    if text[1:3] in ("", ". ") and text[:1] in "ABCDE":
        said = [text[0]] if text else []
    return float(len(said) == 1 and said[0] in options_of(question) and said[0] == references[0])


def _scienceqa_lmms_eval(answer: str, question: str, references: Sequence[str]) -> float:
    """The script of lmms-eval: the letter alone, or at the start with a full stop; anything else is wrong."""
    said = answer.strip()
    letter = said[0] if len(said) >= 2 and said[0].isupper() and said[1] == "." else said
    return float(letter.lower() == references[0].lower())


def _seed_lmms_eval(answer: str, question: str, references: Sequence[str]) -> float:
    """The script of lmms-eval: the first character, while SEED-Bench's authors compare likelihoods of options."""
    return float(answer.strip()[:1].lower() == references[0].lower())


def _vqa(answer: str, question: str, references: Sequence[str]) -> float:
    """VQA's authors: VQA accuracy, normalized only where the ten people do not all agree."""
    said, people = on_one_line(answer), [on_one_line(each) for each in references]
    if len(set(people)) > 1:
        said, people = as_vqa(said), [as_vqa(each) for each in people]
    return as_people_say(said, people)


def _vizwiz(answer: str, question: str, references: Sequence[str]) -> float:
    """VizWiz's authors: VQA accuracy, with only the answer normalized."""
    return as_people_say(as_vqa(answer), references)


def _textvqa(answer: str, question: str, references: Sequence[str]) -> float:
    """TextVQA's authors: as on their server, VQA accuracy, both sides split into words a little more first."""
    return as_people_say(as_textvqa(answer), [as_textvqa(each) for each in references])


def _gqa(answer: str, question: str, references: Sequence[str]) -> float:
    """GQA's authors: the same string."""
    return float(answer in references)


def _gqa_llava(answer: str, question: str, references: Sequence[str]) -> float:
    """The script of LLaVA, then GQA's authors': the same string in lower case, without a final full stop."""
    return float(answer.strip().rstrip(".").lower() in references)


def _oodcv(answer: str, question: str, references: Sequence[str]) -> float:
    """OODCV-VQA's authors: the right word anywhere in the answer, also inside another word."""
    said = without_marks(answer).split(".")[0]
    return float(any(word in said for word in _OODCV.get(references[0], (references[0],))))


RULES: dict[str, Callable[[str, str, Sequence[str]], float]] = {
    "pope": _pope,
    "scienceqa": _scienceqa,
    "scienceqa-llava": _scienceqa_llava,
    "scienceqa-lmms-eval": _scienceqa_lmms_eval,
    "seed-lmms-eval": _seed_lmms_eval,
    "vqa": _vqa,
    "vizwiz": _vizwiz,
    "textvqa": _textvqa,
    "gqa": _gqa,
    "gqa-llava": _gqa_llava,
    "oodcv": _oodcv,
}
