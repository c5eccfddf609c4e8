"""Reads which number an answer names: a count, or one of the numbered options."""

import re

from spavl.evaluation.answer_matching.withheld_answers import is_taken_back, says_nothing, spelled_out
from spavl.text.final_answer import final_answer

_TO_TWENTY = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_TO_TWENTY += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]
_TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {name: float(value) for value, name in enumerate(_TO_TWENTY)}
_VALUES |= {name: 10.0 * tens for tens, name in enumerate(_TENS, 3)} | {"no": 0.0, "none": 0.0, "single": 1.0}
_WORD = re.compile(r"(?<![\w.])(?:[a-z]+(?:-[a-z]+)*|-?\d+(?:\.\d+)?)(?!\w)")
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),(?=\d{3})")
# A number with one of these beside it is not exact.
_NOT_ITSELF = re.compile(
    r"\b(?:dozens?|hundreds?|thousands?|millions?|half|quarters?|couple|pair|between|or more|or fewer|or less|up to)\b|"
    r"\b(?:more|fewer|less|greater|other) than\b|\bat (?:least|most)\b|\b(?:over|under|above|below)\s+\d"
)
# Where `no` means a count of zero.
_NONE_OF_IT = re.compile(
    r"\b(?:there (?:is|are|was|were)|see|count|shows?|contains?|has|have)\s+no\s+\w|^\W*no\s+\w+\W*$"
)

_ALONE = re.compile(r"\W*(\d+)\W*")
_BEHIND = r"(?!\d|\.\d|\s*(?:or|and|,|/|&)\s*\d)"
_ANSWER = re.compile(
    rf"\banswer(?:\s+(?:is|should be|must be))?[^\w]{{0,6}}(?:(?:option|choice|number)[^\w]{{0,4}})?(\d+)\b{_BEHIND}",
    re.I,
)
_OPTION = re.compile(rf"\b(?:option|choice|choose|pick|select)(?:\s+is)?[^\w]{{0,6}}(\d+)\b{_BEHIND}", re.I)
_FIRST = re.compile(r"\W{0,8}(\d+)\s?(?:[.):*_`](?!\d)|$)(?!\s*(?:or|and)\b)")
# A number followed by a sign such as `.` or `)`, as options are listed.
_LISTED = re.compile(r"(?<![\w.])(\d+)[\"'*_`]{0,3}\s?(?:[.):=?](?!\d)|→)")
_DENIED = re.compile(r"\b(?:not|cannot|neither|nor|wrong|incorrect|false|might|may|could|if|whether)\b|n't\b", re.I)
_OFFERED = re.compile(r"(?m)^(\d+)\. ")


def said_number(answer: str) -> float | None:
    """The number that an answer names; None if it names none or several, or is unsure."""
    text = _COMMA_IN_NUMBER.sub("", spelled_out(final_answer(answer)))
    if says_nothing(text) or _NOT_ITSELF.search(text):
        return None
    words = _WORD.findall(text)
    if any(_VALUES.keys() & set(word.split("-")) for word in words if "-" in word):
        return None
    numbers = {_VALUES[word] if word in _VALUES else float(word) for word in words if _is_number(word)}
    if len(numbers) != 1 or ("no" in words and not _NONE_OF_IT.search(text)):
        return None
    return numbers.pop()


def said_numbered(answer: str, question: str) -> str | None:
    """The number of the one option that an answer takes: the one called the answer, or else the only one named."""
    text = final_answer(answer)
    said = _number_of_option(text)
    offered = _OFFERED.findall(question)
    return said if not offered or said in offered else None


def _number_of_option(text: str) -> str | None:
    if alone := _ALONE.fullmatch(text):
        return alone[1]
    if answers := list(_ANSWER.finditer(text)):
        before = re.split(r"[.,\n]", text[: answers[0].start()])[-1]
        taken_back = is_taken_back(text[answers[-1].end() :]) or _DENIED.search(before)
        return None if taken_back else _one({found[1] for found in answers})
    listed, options = set(_LISTED.findall(text)), set(_OPTION.findall(text))
    if first := _FIRST.match(text):
        return None if is_taken_back(text) else _one({first[1]} | listed | options)
    return None if _DENIED.search(text) or is_taken_back(text) else _one(options)


def _is_number(word: str) -> bool:
    return word in _VALUES or word[-1].isdecimal()


def _one(found: set[str]) -> str | None:
    return next(iter(found)) if len(found) == 1 else None
