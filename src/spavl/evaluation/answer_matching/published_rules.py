"""Rules that score answers as published scripts do, faults included. Each docstring begins with the authors."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence

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
# MMBench's authors: answers that take no option, marks between words, and what leads to a letter in long answers.
_MMBENCH_NO_ANSWER = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
# They read the questions with pandas, which takes these options for missing.
_EMPTY_BY_PANDAS = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
_MMBENCH_MARKS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_MMBENCH_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])", re.IGNORECASE)
# ChEF: what replaces the answer, then a letter alone, then with marks around it, in this order.
_CHEF_FIRST, _CHEF_IN_BRACKETS = re.compile(r"([A-Z])\."), re.compile(r"\(([A-Z])")
_CHEF_LETTERS = "ABCDEFG"
_CHEF_MARKED = ("({})", "({}).", "{}.", "{},", "{}:", "{})", "{}).", ":{}", ":{},", ":{}.", ":{})", ":{}).")


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


def _mmbench(answer: str, question: str, references: Sequence[str]) -> float:
    """MMBench's authors: VLMEvalKit's exact matching, a letter, else an option's text; unread answers are wrong."""
    options = {letter: text for letter, text in options_of(question).items() if text not in _EMPTY_BY_PANDAS}
    return float((_mmbench_letter(answer, options) or _mmbench_text(answer, options)) == references[0])


def _mmbench_letter(answer: str, options: Collection[str]) -> str | None:
    """The only letter among the words, if it is one of the last four, else the one that `answer is` leads to.

    "" stands for an answer that takes no option.
    """
    if "Failed to obtain answer via API" in answer:
        return None
    words = answer.translate(_MMBENCH_MARKS).split()
    named = [letter for letter in options if letter in words]
    if any(phrase in answer for phrase in _MMBENCH_NO_ANSWER) or (not named and "Z" in words):
        return ""
    if len(named) == 1 and words.index(named[0]) >= len(words) - 4:
        return named[0]
    said = _MMBENCH_ANSWER_IS.search(answer)
    return said[1].upper() if said and said[1].upper() in options else None


def _mmbench_text(answer: str, options: Mapping[str, str]) -> str | None:
    """The only option whose text occurs in an answer of at most twice the length of all options."""
    is_long = len(answer.lower()) > 2 * sum(map(len, options.values()))
    return None if is_long else _only_text_in(answer, options)


def _chef(answer: str, question: str, references: Sequence[str]) -> float:
    """ChEF's authors: the first `X.` or `(X`, else the only letter by any of their patterns, else an option's text."""
    options, text = options_of(question), _after_chef_turns(answer)
    if first := _CHEF_FIRST.search(text) or _CHEF_IN_BRACKETS.search(text):
        text = f"({first[1]})"
    said = _chef_letter(text.split()) or next((letter for letter, words in options.items() if words == text), None)
    return float((said or _only_text_in(text, options)) == references[0])


def _after_chef_turns(answer: str) -> str:
    return answer.split("###")[0].rsplit("Assistant:", 1)[-1].strip()


def _chef_letter(words: Sequence[str]) -> str | None:
    bare = [letter for letter in _CHEF_LETTERS if letter in words]
    if len(bare) == 1 and ("A" not in words or len(words) < 3):
        return bare[0]
    for marked in _CHEF_MARKED:
        found = [letter for letter in _CHEF_LETTERS if marked.format(letter) in words]
        if len(found) == 1:
            return found[0]
    return None


def _only_text_in(answer: str, options: Mapping[str, str]) -> str | None:
    held = [letter for letter, words in options.items() if words.lower() in answer.lower()]
    return held[0] if len(held) == 1 else None


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
    "mmbench": _mmbench,
    "chef": _chef,
    "vqa": _vqa,
    "vizwiz": _vizwiz,
    "textvqa": _textvqa,
    "gqa": _gqa,
    "gqa-llava": _gqa_llava,
    "oodcv": _oodcv,
}
