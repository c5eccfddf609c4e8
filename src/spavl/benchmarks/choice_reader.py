"""Which option of a multiple choice an answer takes, by its letter or by the option's own words.

Every letter is read by the same patterns. An A may be an article and an I a pronoun, so no letter
counts where an article or a pronoun could stand: accuracy must not depend on which letter is right.
"""

import re
from collections.abc import Mapping
from string import ascii_uppercase

from spavl.benchmarks.options import options_of
from spavl.text.final import final_answer

# What follows a letter, and never follows an article or a pronoun.
_AFTER = (
    "is|are|or|and|but|because|since|as|for|due|the|this|that|these|those|it|its|there|in|on|at|of|to|from|with|by|based|"
    "a|an|he|she|they|which|where|when|if|seems|appears|looks|matches|fits|shows|describes|would|should|must"
)
_FOLLOWED = (
    r"(?=\s*\Z|\s*\n|\s*[^\w\s'/&+-](?![A-Za-z0-9])|\s*'(?![A-Za-z])|\s+[-–—]"
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
# Before a list of all options: "let's look at each option:", "the following choices". No choice of the first.
_EACH = re.compile(
    r"\b(?i:each|every|all|both|any|following|available|possible|given|answer|the)\s+(?:\w+\s+){0,2}?"
    r"(?i:options|choices|answers|letters)\b|\b(?i:each|every|following|any|another|one)\s+(?:\w+\s+){0,2}?"
    r"(?i:answer|option|choice|solution|letter)\b"
)
# "is", "should be", a colon, a new line, or nothing at all before brackets; then perhaps "the option".
_IS = (
    r"(?:[^.:;\n()]{0,60}?\b(?i:is|are|be|was)\b[^\w()]{0,8}|[^\w()]{0,4}[:=][^\w()]{0,8}|[^\w()]{0,4}\n[^\w()]{0,8}"
    r"|[^\w()]{1,4}(?=\())(?:(?i:the\s+)?(?i:option|choice|letter|answer)\b[^\w()]{0,4})?"
)
# After "option" or "choice" a new line may begin a list of them.
_IS_THERE = _IS.replace(r"|[^\w()]{0,4}\n[^\w()]{0,8}", "").replace(r"[^\w()]", r"[^\w()\n]")
_ROUND = r"[\s*_()\[\]{}\"'`#>.:$-]{0,12}?"
_GOOD = "correct|right|best|true|accurate|answer"
# How an option is taken, the surest way first: of the first way that is met, all letters count.
_WAYS = (
    rf"\b(?i:final (?:answer|choice|option|decision)){_IS}{_LETTERS}",
    # A letter alone on the first line or the last.
    rf"\A{_ROUND}([A-Za-z]){_ROUND}(?=\n)|\n{_ROUND}([A-Za-z]){_ROUND}\Z"
    rf"|\b(?i:answer|solution|(?:correct|best|right|final|my|selected|chosen) (?:option|choice))\b{_IS}{_LETTERS}"
    rf"|\b(?i:choice|option)\b{_IS_THERE}{_LETTERS}"
    rf"|{_CAPITALS}\s+(?i:is|would be|must be|should be|seems|appears)\s+(?:\w+\s+){{0,3}}?(?i:{_GOOD})\b"
    r"|\b(?i:choose|select|pick|go with|going with|go for|opt for)\s+(?i:(?:option|choice|letter|answer)\s+)?"
    rf"{_CAPITALS}"
    rf"|(?:答案|选项?|正解|答え|정답|답)[是为は은는이가:\s]{{0,4}}\W{{0,3}}{_CAPITALS}",
    r"(?m:^)\W{0,12}([A-Za-z])\s?[.):](?![A-Za-z]\.)(?!\s*(?:or\b|and\b|[,/&]))",
    rf"\b(?i:answer|option|choice|letter)[^\S\n]+{_LETTERS}",
    rf"({_IN_BRACKETS})",
    _CAPITALS,
)
# The ways that count although options were gone through: there the answer is called one.
_SURE = 2
_LISTED = re.compile(rf"(?:{_EACH.pattern})[^\n]{{0,60}}\n\W{{0,12}}(?:(?i:option|choice) )?\(?A\b")
_LAST_LISTED = re.compile(r"(?ms:\A.*^)\W{0,12}(?:(?i:option|choice) )?\(?[A-Z]\s?[.):*][^\n]*")
_BY_LETTER = tuple(map(re.compile, _WAYS))
_ALONE = re.compile(r"\W*([A-Za-z])\W*")
_ONE_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_WORDS = re.compile(r"\w+")
_ARTICLE = re.compile(r"^(?:a|an|the) ")
# A letter in quotes, bold, code or brackets of any kind stands for itself: all are written as (X).
_MARKED = re.compile(
    r"(?<![A-Za-z0-9'])[(\[{<\"'“*`$_]{1,6}\s?([A-Za-z])\s?[)\]}>\"'”*`$_.:]{0,6}[)\]}>\"'”*`$_](?![A-Za-z0-9])"
)
# What a sentence rules out: "option A is wrong", "A and B are not", "not (C)", "neither A nor B".
_RULED = r"\(?[A-Z]\)?(?:(?:,| and| or| nor)+ (?:(?i:option|choice)s? )?\(?[A-Z]\)?){0,9}"
_RULED_OUT = re.compile(
    rf"\b(?:(?i:answer|option|choice)s? )?{_RULED} (?:is|are|was|were|would be|seems?|can be)"
    r"(?: not|n't| clearly| also| therefore)*"
    r"(?: not|n't| wrong| incorrect| false| ruled out| eliminated| excluded)\b"
    rf"|(?:\b(?i:not|cannot|neither|rather than|instead of|unlike|except)|n't) (?:be )?"
    rf"(?:(?i:option|choice)s? )?{_RULED}(?![\w'])"
    # What was thought at first.
    rf"|\b(?i:initially|originally|at first|first (?:guess|thought|impression))\b[^.\n]{{0,60}}?\b{_RULED}(?![\w'])"
)
# "A: no." of one option after the other; "it could be A", where something surer follows.
_CROSSED = re.compile(rf"(?<![A-Za-z0-9]){_RULED}[.:)]+\W{{0,4}} (?:no|wrong|incorrect)\b(?=\s*(?:[.,;]|\n|\Z))")
_HEDGED = re.compile(rf"\b(?i:may|might|could)(?: \w+ly)? be (?:(?i:option|choice) )?{_RULED}(?![\w'])")
_NEGATOR = re.compile(r"\b(?i:no|not|none|never|neither|nor|without|cannot)\b|n't\b")
# What a sentence denies, up to where another begins.
_DENIED = re.compile(
    r"(?:\b(?i:no|not|never|neither|without|cannot)\b|n't\b)(?!\s+(?:doubt|only|just)\b)"
    r"[^.,;:\n]*?(?=[.,;:\n]|\bbut\b|\Z)"
)


def said_option(answer: str, question: str) -> str | None:
    """The letter of the one option that an answer takes. None where it takes none of those offered, or several."""
    options = options_of(question) or dict.fromkeys(ascii_uppercase, "")
    text = final_answer(answer)
    if alone := _ALONE.fullmatch(text):
        return _only({alone[1].upper()}, options)
    # Where an option itself says no, a no may quote it.
    denying = any(map(_NEGATOR.search, options.values()))
    marked = _without_options_that_name_letters(_MARKED.sub(r"(\1)", text), options)
    listed = _LISTED.search(marked)
    marked = _EACH.sub("…", _RULED_OUT.sub(" ", marked if denying else _CROSSED.sub(" ", marked)))
    for said in dict.fromkeys((_HEDGED.sub(" ", marked), marked)):
        for way in _BY_LETTER[:_SURE] if listed else _BY_LETTER:
            if named := {letter for found in way.finditer(said) for letter in _letters(found) if letter in options}:
                return _only(named, options)
    if listed:
        text = _LAST_LISTED.sub("", text)
    left = _RULED_OUT.sub(" ", text)
    return _quoted(_plain(left if denying else _DENIED.sub(" ", left)), options)


def _letters(found: re.Match[str]) -> list[str]:
    return [letter.upper() for group in found.groups() if group for letter in _ONE_LETTER.findall(group)]


def _only(named: set[str], options: Mapping[str, str]) -> str | None:
    return next(iter(named)) if len(named) == 1 and named <= options.keys() else None


def _without_options_that_name_letters(text: str, options: Mapping[str, str]) -> str:
    """Where an option says "Solution A", its letters are words of the option and no choice of another."""
    for words in options.values():
        parts = _WORDS.findall(words)
        if len(parts) > 1 and any(len(part) == 1 and part.isalpha() for part in parts):
            spelled = r"\W+".join(map(re.escape, parts))
            text = re.sub(rf"(?<!\w){spelled}(?!\w)", "…", text, flags=re.IGNORECASE)
    return text


def _quoted(plain: str, options: Mapping[str, str]) -> str | None:
    """The option whose words an answer holds. One may be part of a longer one, which then is what was meant."""
    spelled = {letter: _ARTICLE.sub("", _plain(words)) for letter, words in options.items()}
    held = {letter: words for letter, words in spelled.items() if words and _holds(plain, words)}
    longest = {
        letter
        for letter, words in held.items()
        if not any(_holds(other, words) for place, other in held.items() if place != letter)
    }
    return _only(longest, options)


def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))


def _holds(text: str, part: str) -> bool:
    return f" {part} " in f" {text} "
