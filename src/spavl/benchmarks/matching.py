"""Answers scored without a judge, each rule by its name.

A rule gives 1 for right, 0 for wrong, something between where its makers do, and None where it
cannot tell what was answered. Rules named after a benchmark are its makers' own, faults included;
they stand beside ours so that figures can be compared with published ones.
"""

import re
import string
from collections.abc import Callable, Sequence

from spavl.benchmarks.options import options_of
from spavl.benchmarks.vqa_words import as_textvqa, as_vqa, without_marks
from spavl.errors import ConfigError

# The answer, the question it answers, and the right answers.
Rule = Callable[[str, str, Sequence[str]], float | None]

_YES, _NO = frozenset({"yes", "yeah", "yep", "yup"}), frozenset({"no", "nope", "nah"})
_DENIALS = frozenset({"not", "isn't", "aren't", "wasn't", "weren't", "don't", "doesn't", "didn't", "hasn't", "haven't"})
_DOUBTS = frozenset({"sure", "certain", "clear", "know", "tell", "say", "determine", "confirm", "possible", "enough"})
_TO_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_AS_DIGITS = {word: number for number, word in enumerate((*_TO_TEN, "eleven", "twelve"))}
_AS_DIGITS |= {"no": 0, "none": 0, "single": 1}
_WORD = re.compile(r"(?<![\w.])(?:[a-z]+|\d+(?:\.\d+)?)(?!\w)")
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d{3})")
_LETTER = re.compile(r"\W*([A-Za-z])\W*")
_LETTER_FIRST = re.compile(r"\W*([A-Za-z])\s?[.):](?:\s|$)(?!or\b|and\b)")
_NUMBER_FIRST = re.compile(r"\W*(\d+)\s?(?:[.):](?!\d)|$)")
_NUMBER_NAMED = re.compile(r"\b(?:answer|option|choice)(?:\s+is)?\s*:?\s*\(?(\d+)\b", re.IGNORECASE)
# How a letter is named in a sentence, the surest way first: "the answer is B", "(B)", or B alone. An A alone
# is an article as often as not, and so is an I a pronoun; a small one is a letter at the end of a clause.
_IN_SENTENCE = (
    re.compile(
        r"\b(?i:answer|option|choice)(?i:\s+is)?\s*:?\s*\(?([A-Z]|[b-hj-z]|[ai](?=\W*(?:[.,;:!)\n]|$)))(?![\w'])"
    ),
    re.compile(r"\(([A-Z])\)"),
    re.compile(r"(?<![\w'])([B-HJ-Z])(?![\w'])"),
)
# What a sentence rules out: "option A is wrong", "A and B are not", "not (C)".
_LETTERS = r"\(?[A-Z]\)?(?:(?:,| and| or)+ (?:(?i:option|choice)s? )?\(?[A-Z]\)?)*"
_RULED_OUT = re.compile(
    rf"\b(?:(?i:answer|option|choice)s? )?{_LETTERS} (?:is|are|was|were|would be|seems?)(?: not|n't| clearly| also)*"
    rf"(?: not|n't| wrong| incorrect| false)\b|(?:\bnot|n't) (?:(?i:option|choice)s? )?{_LETTERS}(?!\w)"
)
_NO_MARKS = str.maketrans("", "", string.punctuation)
# What the makers of OODCV-VQA look for, anywhere in the answer.
_OODCV = {
    "Yes": ("yes", "Yes", "yeah", "Yeah"),
    "No": ("no", "No", "nope", "Nope"),
    "0": ("none", "no", "zero"),
    "1": ("one", "single", "1"),
} | {str(number): (_TO_TEN[number], str(number)) for number in range(2, 11)}


def rule(name: str) -> Rule:
    if name not in RULES:
        raise ConfigError(f"no rule of matching is called {name!r}", then=f"the rules are {', '.join(RULES)}")
    return RULES[name]


def said_yes(answer: str) -> bool | None:
    """What an answer says by its first word, or else by the only one of yes and no in its first sentence.

    `not` is a no, unless it is said of what the speaker knows.
    """
    first = re.split(r"[.!?\n]", answer.strip().replace("’", "'"), maxsplit=1)[0]
    words = re.findall(r"[a-z']+", first.casefold())
    if words and words[0] in _YES | _NO:
        return words[0] in _YES
    yes, no = bool(_YES & set(words)), bool((_NO | _DENIALS) & set(words))
    doubted = _DENIALS & set(words) and _DOUBTS & set(words)
    return None if yes == no or doubted else yes


def said_number(answer: str) -> float | None:
    """The number that an answer names; None if it names none, or several."""
    words = _WORD.findall(_COMMA_IN_NUMBER.sub("", answer.casefold()))
    numbers = {float(_AS_DIGITS.get(word, word)) for word in words if word in _AS_DIGITS or word[0].isdecimal()}
    return numbers.pop() if len(numbers) == 1 else None


def said_option(answer: str, question: str) -> str | None:
    """The letter of the option that an answer takes: by its letter, or by the option's own words."""
    options, answer = options_of(question), _RULED_OUT.sub(" ", answer.strip())
    if alone := _LETTER.fullmatch(answer) or _LETTER_FIRST.match(answer):
        return alone[1].upper()
    for form in _IN_SENTENCE:
        if named := {letter.upper() for letter in form.findall(answer)} & options.keys():
            return named.pop() if len(named) == 1 else None
    plain = _plain(answer)
    quoted = [letter for letter, words in options.items() if _plain(words) and _holds(plain, _plain(words))]
    # An option may be part of a longer one, which then is what was meant.
    longest = [
        letter
        for letter in quoted
        if not any(_holds(_plain(options[other]), _plain(options[letter])) for other in quoted if other != letter)
    ]
    return longest[0] if len(longest) == 1 else None


def _yes_no(answer: str, question: str, references: Sequence[str]) -> float | None:
    """Yes or no, by what its first sentence says."""
    said = said_yes(answer)
    return None if said is None else float(said == (references[0].casefold() == "yes"))


def _number(answer: str, question: str, references: Sequence[str]) -> float | None:
    """The one number that an answer names, in digits or words."""
    said = said_number(answer)
    return None if said is None else float(said in {said_number(each) for each in references})


def _short(answer: str, question: str, references: Sequence[str]) -> float | None:
    """Yes or no, or else the one number, whichever the right answer is."""
    kind = _number if said_yes(references[0]) is None else _yes_no
    return kind(answer, question, references)


def _numbered(answer: str, question: str, references: Sequence[str]) -> float | None:
    """The number of an option, at the answer's beginning or named in it as the answer."""
    said = _NUMBER_FIRST.match(answer) or _NUMBER_NAMED.search(answer)
    return None if said is None else float(said[1] == references[0])


def _choice(answer: str, question: str, references: Sequence[str]) -> float | None:
    """The letter of an option, or the option's own words where one option alone is quoted."""
    said = said_option(answer, question)
    return None if said is None else float(said == references[0])


def _exact(answer: str, question: str, references: Sequence[str]) -> float:
    """As GQA is compared: case and marks do not count."""
    return float(_bare(answer) in map(_bare, references))


def _vqa(answer: str, question: str, references: Sequence[str]) -> float:
    """VQA accuracy over what ten people said, words made alike as its makers do."""
    return _as_people_say(as_vqa(answer), [as_vqa(each) for each in references])


def _textvqa(answer: str, question: str, references: Sequence[str]) -> float:
    """VQA accuracy with words parted as TextVQA's server does."""
    return _as_people_say(as_textvqa(answer), [as_textvqa(each) for each in references])


def _as_people_say(said: str, people: Sequence[str]) -> float:
    """The mean, over the people who were asked, of min(1, how many of the others said the same / 3)."""
    same = people.count(said)
    return sum(min(1.0, (same - (each == said)) / 3) for each in people) / len(people) if people else 0.0


def _pope(answer: str, question: str, references: Sequence[str]) -> float:
    """POPE's script: whatever does not say no in its first sentence is a yes."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    said = "no" if {"No", "not", "no"} & set(words) else "yes"
    return float(said == references[0].casefold())


def _scienceqa(answer: str, question: str, references: Sequence[str]) -> float:
    """As LLaVA's scripts read it: the letter alone, or at the start with a dot; all else is wrong."""
    said = answer.strip()
    letter = said[0] if len(said) >= 2 and said[0].isupper() and said[1] == "." else said
    return float(letter.casefold() == references[0].casefold())


def _seed(answer: str, question: str, references: Sequence[str]) -> float:
    """The first character, whatever it begins."""
    return float(answer.strip()[:1].casefold() == references[0].casefold())


def _oodcv(answer: str, question: str, references: Sequence[str]) -> float:
    """The makers' way: the right word anywhere in the answer, as a part of another word too."""
    said = without_marks(answer).split(".")[0]
    return float(any(word in said for word in _OODCV.get(references[0], (references[0],))))


def _bare(text: str) -> str:
    return text.translate(_NO_MARKS).lower().strip()


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _holds(text: str, part: str) -> bool:
    return f" {part} " in f" {text} "


RULES: dict[str, Rule] = {
    "match/yes_no": _yes_no,
    "match/number": _number,
    "match/short": _short,
    "match/choice": _choice,
    "match/numbered": _numbered,
    "match/exact": _exact,
    "match/vqa": _vqa,
    "match/textvqa": _textvqa,
    "match/pope": _pope,
    "match/scienceqa": _scienceqa,
    "match/seed": _seed,
    "match/oodcv": _oodcv,
}
