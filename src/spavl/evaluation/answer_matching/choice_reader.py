"""Reads which option of a multiple-choice question an answer takes, by its letter or by the option's own words.

Three steps: a letter that is called the answer; else the only letter that is named; else the only option whose words
occur. With two candidates at a step the answer is unread. Every letter is read by the same patterns. An A may be an
article and an I a pronoun, so no letter counts where one of these could be: accuracy must not depend on which letter
is right.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import NamedTuple

from spavl.evaluation.answer_matching.withheld_answers import is_taken_back, says_nothing
from spavl.evaluation.answer_matching.yes_no_reader import said_yes
from spavl.evaluation.benchmarks.ability.instructions import options_of
from spavl.text.final_answer import final_answer

# Words that follow a letter, but never an article or a pronoun.
_AFTER = (
    "is|are|or|and|but|because|since|as|for|due|the|this|that|these|those|it|its|there|in|on|at|of|to|from|with|by|based|"
    "a|an|he|she|they|which|where|when|if|seems|appears|looks|matches|fits|shows|describes|would|should|must"
)
_FOLLOWED = (
    r"(?=\s*\Z|\s*\n|\s*[^\w\s'/&+-](?![A-Za-z0-9])|\s*'(?![A-Za-z])|\s+[-–—]"
    r"|\s+\([^()\n]{0,80}\)(?!\s*[a-z])"
    rf"|\s*[/&+]\s*\(?[A-Za-z]\)?(?=\s*(?:\Z|[^\w\s'-]))|\s+(?i:{_AFTER})\b)"
)
_IN_BRACKETS = r"\([A-Za-z]\)"
_CAPITAL = rf"(?:{_IN_BRACKETS}|(?<![A-Za-z0-9'.(])[A-Z](?![A-Za-z0-9']){_FOLLOWED})"
_ANY = rf"(?:{_IN_BRACKETS}|(?<![A-Za-z0-9'.(])[A-Za-z](?![A-Za-z0-9']){_FOLLOWED})"
# In "A and B look alike" the second letter counts too, whatever follows it.
_AND = r"(?:(?:\s*,)?\s*\b(?:or|and)\b|\s*[/&+])\s*(?i:(?:option|choice)s?\s+)?"
_SECOND = rf"(?:{_IN_BRACKETS}|[A-Z](?![A-Za-z0-9'])"
_CAPITALS = rf"({_CAPITAL}(?:{_AND}{_SECOND})|\s*,\s*{_CAPITAL}){{0,9}})"
_LETTERS = rf"({_ANY}(?:{_AND}{_SECOND}|[a-z](?![A-Za-z0-9']){_FOLLOWED})|\s*,\s*{_ANY}){{0,9}})"
# Announces a list of all options, without choosing the first: "let's look at each option:", "the following choices".
_EACH = re.compile(
    r"\b(?i:each|every|all|both|any|following|available|possible|given|answer|the)\s+(?:\w+\s+){0,2}?"
    r"(?i:options|choices|answers|letters)\b|\b(?i:each|every|following|any|another|one|second|next)\s+(?:\w+\s+){0,2}?"
    r"(?i:answer|option|choice|solution|letter)\b"
)


def _leading_to(sign: str, more: str = "") -> str:
    """What leads to a letter: "is", a colon, or nothing before brackets; then perhaps "the option"."""
    return (
        rf"(?:[^.:;\n()]{{0,60}}?\b(?i:is|are|be|was)\b{sign}{{0,8}}|{sign}{{0,4}}[:=]{sign}{{0,8}}{more}"
        rf"|{sign}{{1,4}}(?=\())(?:(?i:the\s+)?(?i:option|choice|letter|answer)\b{sign}{{0,4}})?"
    )


# A new line may lead to a letter too, except after "option" or "choice", where it may begin a list.
_IS = _leading_to(r"[^\w()]", more=r"|[^\w()]{0,4}\n[^\w()]{0,8}")
_IS_THERE = _leading_to(r"[^\w()\n]")
_ROUND = r"[\s*_()\[\]{}\"'`#>.:$-]{0,12}?"
_GOOD = "correct|right|best|true|accurate|answer"
_FINAL = re.compile(rf"\b(?i:final (?:answer|choice|option|decision)){_IS}{_LETTERS}")
# Where a letter is called the answer, or is alone on the first or last line.
_STATED = re.compile(
    rf"\A{_ROUND}([A-Za-z]){_ROUND}(?=\n)|\n{_ROUND}([A-Za-z]){_ROUND}\Z"
    rf"|\b(?i:answer|solution|(?:correct|best|right|final|my|selected|chosen) (?:option|choice))\b{_IS}{_LETTERS}"
    rf"|\b(?i:choice|option)\b{_IS_THERE}{_LETTERS}"
    rf"|{_CAPITALS}[^\S\n]+(?i:is|would be|must be|should be|seems|appears)[^\S\n]+"
    rf"(?:\w+[^\S\n]+){{0,3}}?(?i:{_GOOD})\b"
    r"|\b(?i:choose|select|pick|go with|going with|go for|opt for)\s+(?i:(?:option|choice|letter|answer)\s+)?"
    rf"{_CAPITALS}"
    rf"|\b(?i:so|thus|hence|therefore)\b[\s,:]{{1,3}}(?i:(?:it's|it is|it must be)\s+)?{_CAPITALS}(?=\W*(?:\n|\Z))"
    rf"|(?<![不非没])(?:答案|选项?|正解|答え|정답|답)[是为は은는이가:\s]{{0,4}}\W{{0,3}}{_CAPITALS}"
)
# Where a letter is named at all: at the start of a line, after "option" and the like, in brackets, or as a capital.
_LINE = r"(?m:^)\W{0,12}([A-Za-z])\s?[.):](?![A-Za-z]\.)(?!\s*(?:or\b|and\b|[,/&]))"
_NAMED = re.compile(
    rf"{_LINE}|\b(?i:answer|option|choice|letter)[^\S\n]+{_LETTERS}|({_IN_BRACKETS})|{_CAPITALS}"
    r"|(?<![A-Za-z0-9'.(])([A-Z])(?=\s?[:=)→](?!\w))"
)
# A letter that is no article, pronoun or part of a word: it may be named too.
_ANYWHERE = re.compile(r"(?<![A-Za-z0-9'])([A-Z])(?![A-Za-z0-9'-])(?!\s[a-z])")
_ENTRY = re.compile(rf"{_LINE}[^\n]*|(?m:^)\W{{0,12}}(?i:option|choice) \(?[A-Z]\b[^\n]*")
_TAKEN_AFTER = re.compile(
    r"(?:\A|[.,;:!?…~\n\"'(\[{>*-]|\b(?i:so|thus|hence|therefore|then|(?:it|this|that|one) is|it's|be|but|"
    r"say|only|think|was|picture|with|are|to|answer|option|choice|letter|choose|pick|select|I'm|believe|for|go|image|es|est|ist|lautet|\w+ly)\s)\s*\W{0,4}\Z"
)
_LISTED = re.compile(rf"(?:{_EACH.pattern})[^\n]{{0,60}}\n\W{{0,12}}(?:(?i:option|choice) )?\(?A\b")
_ALONE = re.compile(r"\W*([A-Za-z])\W*")
_ONE_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_WORDS = re.compile(r"\w+")
_ARTICLE = re.compile(r"^(?:a|an|the) ")
_ARTICLE_FIRST = re.compile(r"\A\W*(?i:a|an|the) (?=\w)")
# A letter in quotes, bold, code or brackets of any kind is never a word: all are rewritten as (X).
_MARKED = re.compile(
    r"(?<![A-Za-z0-9'])[(\[{<\"'“*`$_]{1,6}\s?([A-Za-z])\s?[)\]}>\"'”*`$_.:]{0,6}[)\]}>\"'”*`$_](?![A-Za-z0-9])"
)
# What a sentence rules out: "option A is wrong", "A and B are not", "not (C)", "neither A nor B".
_RULED = r"\(?[A-Z]\)?(?:(?:,| and| or| nor)+ (?:(?i:option|choice)s? )?\(?[A-Z]\)?){0,9}"
_RULED_OUT = re.compile(
    rf"\b(?:(?i:answer|option|choice)s? )?{_RULED} (?i:is|are|was|were|would be|seems?|can be)"
    r"(?i: not|n't| clearly| also| therefore)*"
    r"(?i: not|n't| wrong| incorrect| false| ruled out| eliminated| excluded)\b"
    rf"|(?:\b(?i:not|cannot|neither|rather than|instead of|unlike|except|whereas)|n't) (?:be )?"
    rf"(?:(?i:option|choice)s? )?{_RULED}(?![\w'])"
    # What the model thought at first.
    rf"|\b(?i:initially|originally|at first|first (?:guess|thought|impression))\b[^.\n]{{0,60}}?\b{_RULED}(?![\w'])"
)
# A clause with one of these denies or doubts what it names.
_DENIES = re.compile(
    r"\b(?i:no|not|none|never|neither|nor|without|cannot|hardly|lacks?|lacking|absent|missing|fails?|except|worst|least|less|"
    r"avoid|ignore|eliminat\w+|rul(?:e|ing) out|wrong|incorrect|"
    r"false|nothing|nowhere|anything but|everything but|all but|rather than|instead of|unlike|apart from|other than|"
    r"initially|originally|at first|first glance|might|may|could|perhaps|maybe|possibly|unsure|doubt)\b|n't\b|不|没|非"
)
_IS_SAID = re.compile(r"[^\w?]{0,3}\s*(?:is|was|seems|looks)\b")
_SUPPOSES = re.compile(r"\b(?i:if|whether|unless)\b")
# A comma ends a clause only before these words: it may also continue a list, where a denial applies to every entry.
_CLAUSE = re.compile(
    r"[.;:!?\n。，；→]|,(?=\s*(?i:it|its|this|that|there|they|he|she|we|i|but|not|so|only|rather)\b)|"
    r"\b(?i:so|thus|hence|therefore)\b|(?i:(?<!thing)(?<!\ball)(?<!none)\s+but\b)"
)
_HELD = re.compile(r"\0(\d+)\0")
# How many characters before and after a letter are searched.
_FAR = 200


def said_option(answer: str, question: str) -> str | None:
    """The letter of the one option that an answer takes. None if it takes none of those offered, or several."""
    options = options_of(question) or dict.fromkeys(ascii_uppercase, "")
    text = final_answer(answer)
    if alone := _ALONE.fullmatch(text):
        return _only({alone[1].upper()}, options)
    spelled = {letter: _ARTICLE.sub("", _plain(words)) for letter, words in options.items()}
    marked = _without_options_that_name_letters(_MARKED.sub(r"(\1)", text), spelled)
    left = _EACH.sub("…", _RULED_OUT.sub(" ", marked))
    for way in (_FINAL, _STATED):
        sure = [found for found in _letter_matches(way, left, options) if not _is_doubted(left, found)]
        if sure:
            named = {letter for found in sure for letter in found.letters}
            return None if _is_unsettled(left[sure[-1].end :], named, spelled) else _only(named, options)
    if _LISTED.search(marked):
        return None
    whole = _plain(_ARTICLE_FIRST.sub("", text))
    if same := {letter for letter, words in spelled.items() if words and words == whole}:
        return _only(same, spelled)
    if says_nothing(text):
        return None
    held = _option_by_words(text, question, spelled)
    if ways := list(_letter_matches(_NAMED, left, options)):
        letters = {letter for found in (*ways, *_letter_matches(_ANYWHERE, left, options)) for letter in found.letters}
        one = _only(letters, options)
        taken = any(_TAKEN_AFTER.search(left[: found.start][-40:]) and not _is_doubted(left, found) for found in ways)
        return one if taken and held in (None, one) else None
    return held


class _LetterMatch(NamedTuple):
    start: int
    end: int
    letters: tuple[str, ...]


def _letter_matches(way: re.Pattern[str], text: str, options: Mapping[str, str]) -> Iterator[_LetterMatch]:
    """Where a text names options by their letters."""
    for found in way.finditer(text):
        place = next(place for place, group in enumerate(found.groups(), 1) if group)
        letters = tuple(each.upper() for each in _ONE_LETTER.findall(found[place]) if each.upper() in options)
        if letters:
            yield _LetterMatch(found.start(place), found.end(place), letters)


def _is_doubted(text: str, found: _LetterMatch) -> bool:
    """Whether a letter is denied in its own clause, or hypothetical in its sentence."""
    before = re.split(r"[.!?\n]", text[max(0, found.start - _FAR) : found.start])[-1]
    after = re.split(r"[.,;!\n]", text[found.end : found.end + _FAR])[0]
    clause = _CLAUSE.split(before.split(",")[-1])[-1] + (after if _IS_SAID.match(after) else "")
    return (
        any(map(_SUPPOSES.search, (before, after)))
        or after.lstrip(" )*").startswith("?")
        or _DENIES.search(clause) is not None
    )


def _is_unsettled(rest: str, named: set[str], spelled: Mapping[str, str]) -> bool:
    """Whether what follows a statement takes it back, or names another letter or another option's words."""
    words = _plain(rest.lstrip().split("\n")[0])
    if any(
        letter not in named and words and words in (own, f"a {own}", f"the {own}") for letter, own in spelled.items()
    ):
        return not any(words == spelled[letter] for letter in named)
    if any(words == spelled[letter] for letter in named):
        rest = rest.lstrip().partition("\n")[2]
    others = (letter for found in _letter_matches(_NAMED, _ENTRY.sub("", rest), spelled) for letter in found.letters)
    return is_taken_back(rest) or not named.issuperset(others)


def _only(named: set[str], options: Mapping[str, str]) -> str | None:
    return next(iter(named)) if len(named) == 1 and named <= options.keys() else None


def _without_options_that_name_letters(text: str, options: Mapping[str, str]) -> str:
    """Removes the words of options such as "Solution A", whose letter belongs to the option and names no other."""
    for words in options.values():
        parts = _WORDS.findall(words)
        if len(parts) > 1 and any(len(part) == 1 and part.isalpha() for part in parts):
            text = _words_of(parts).sub("…", text)
    return text


def _option_by_words(text: str, question: str, spelled: Mapping[str, str]) -> str | None:
    """The only option whose words an answer holds without denying it; None if there are none or several."""
    by_words = {words: letter for letter, words in spelled.items() if words}
    if {"yes", "no"} <= by_words.keys():
        said = said_yes(text, question)
        return None if said is None else by_words["yes" if said else "no"]
    # Longest first: an option may be part of a longer one, which is then meant.
    for place, letter in enumerate(letters := sorted(spelled, key=lambda letter: -len(spelled[letter]))):
        if spelled[letter]:
            text = _words_of(spelled[letter].split()).sub(f"\0{place}\0", text)
    held: set[str] = set()
    denied: set[str] = set()
    for clause in _CLAUSE.split(text):
        found = {letters[int(place)] for place in _HELD.findall(clause)}
        (denied if _DENIES.search(clause) or _SUPPOSES.search(clause) else held).update(found)
    return None if held & denied else _only(held, spelled)


def _words_of(parts: Sequence[str]) -> re.Pattern[str]:
    spelled = r"\W+".join(map(re.escape, parts))
    return re.compile(rf"(?<!\w){spelled}(?!\w)", re.IGNORECASE)


def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))
