"""Reads whether an answer says yes or no. It must state one of them: a refusal, a doubt and an excuse state neither.

First it looks for the word: at the beginning of a sentence or alone at its end. Without one, it looks for a sentence
that says only, in one of a few plain ways, that what was asked for is there or is not, or that repeats the question as
a statement. An answer that says both is unread. Every pattern works for yes and for no, which is the same with one
denial in it.
"""

import re
from collections.abc import Iterable

from spavl.evaluation.answer_matching.withheld_answers import is_doubted, is_withheld, sentences_of, spelled_out
from spavl.text.final_answer import final_answer

# The words themselves, in the languages that models answer in. The Spanish and Italian no is spelled like the English.
_YES = (
    "yes",
    "yeah",
    "yep",
    "yup",
    "sí",
    "sì",
    "oui",
    "ja",
    "sim",
    "да",
    "evet",
    "tak",
    "是",
    "是的",
    "有",
    "はい",
    "예",
    "네",
)
_NO = ("no", "nope", "nah", "non", "nein", "não", "нет", "hayır", "nie", "不", "不是", "没有", "否", "いいえ", "아니요")
_WORDS = {**dict.fromkeys(_YES, True), **dict.fromkeys(_NO, False)}
_DECLARED = re.compile(
    r"\banswer\b[^\w]{0,6}(?:(?:is|would be|should be)\b)?[^\w]{0,6}(yes|no)\b(?!\s+(?:if|when|or)\b)"
)
_CHOICE = re.compile(r"^\W*yes\s*(?:/|or)\s*no\s*[:?]\W*(?=\w)")
_BOTH = re.compile(r"\byes\W+(?:(?:or|and)\W+)?no\b|\bno\W+(?:(?:or|and)\W+)?yes\b")
_SIGNS = " \t.,;:!?-–—()[]{}\\/✅❌✔✗➡️=<~"
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|\d+")
_CLAUSE = re.compile(r"[,;:]|\b(?:so|but|then|thus|hence|therefore)\b")
_MORE = re.compile(r"\b(?:happy|glad) to (?:help|assist)\b.*\b(?:more|else|further)\b|^let me know\b")

_IMAGE = r"(?:the|this|your)\s+(?:\w+\s+)?(?:image|picture|photo|photograph|scene|view)"


def _before(word: str, denial: str) -> str:
    """What may come before a statement: `word`, such as a yes or no, "in the image", or "I think" after `denial`."""
    return (
        r"(?:(?:well|so|and|but|indeed|sure|certainly|absolutely|definitely|unfortunately|therefore|thus|hence)\b[\s,]*|"
        rf"{word}(?:in|from|based on|looking at|according to)\s+{_IMAGE}(?:\s+you\s+\w+)?[\s,]*|"
        r"(?:looking closely|as far as i can (?:tell|see)|to answer your question)[\s,]*|"
        rf"(?:i\s+(?:would\s+)?{denial}(?:think|believe|say)|i can (?:confirm|say|see|tell you)|"
        r"(?:i'm|i am) sure|it(?:'s| is) (?:clear|true)|it (?:seems|appears|looks like))\s+(?:that\s+)?){0,5}"
    )


_LEADS = re.compile(
    _before(word="", denial="")
    + rf"({'|'.join(sorted(_WORDS, key=len, reverse=True))})"
    + r"(?=$|[^\w\s]|\s+[(–—-]|\s+(?:there|it|i|the|this|that|he|she|they|we|you|an?|because|since|as)\b)"
)
_TRAILS = re.compile(r"(?:(?:i|i'd|it|it's|my|the|answer|is|would|say|be|must|think)\s+)*(yes|no)")
_THERE = (
    r"(?:in|on|at|near|by|behind|beside|under|next|inside|to|lying|sitting|standing|visible|"
    r"present|shown|seen|here|there)"
)
_NEVER = "no|not|without|but|and|or|like|that|which|who|if|with|nor|as|than|except"
_TAIL = rf"(?:\s+{_THERE}\b(?:\s+(?!(?:{_NEVER})\b)[\w'-]+){{0,9}})"
_COUNT = "an?|the|some|any|one|two|three|four|five|six|several|many|multiple|at least one"
_LOOKS = "small|large|big|little|tiny|young|old|black|white|brown|gr[ae]y|red|blue|green|yellow|pink|purple|golden|dark"
_SEE = r"(?:see|have|find|found|spot|notice|observe|detect|saw|make out)"
_SHOW = r"(?:shows?|contains?|depicts?|includes?|features?|displays?|has|have)"
_ASKED_FOR = re.compile(
    r"(?:(?:(?:is|are) there|(?:do|can) you see|"
    r"(?:does|do) (?:the|this) (?:image|picture|photo) (?:contain|show|have))\s+"
    r"(?:(?:an?|any|some|the)\s+)?([\w\s'-]+?)\s*"
    rf"(?:\b(?:in|visible in|present in|shown in)\s+{_IMAGE})?|(?:is|are)\s+(?:an?|any|some)\s+([\w\s'-]+?)\s+there)"
    r"\s*(?:\?|\n|$)"
)
_BARE = re.compile(
    r"(?:it|they|there|he|she|these|those)\s+(?:is|are|does|do|was|were|has|have)(?P<a>\s+not)?|"
    r"i\s+(?:do\s+(?P<b>not)\s+)?(?:think|believe)\s+so"
)
_APOLOGY = re.compile(
    r"^\W*(?:(?:(?:i am|i'm)\s+)?(?:very |so |really )?(?:sorry|afraid)|i apologi[sz]e|(?:my )?apologies)\b"
    r"[\s,.!-]*(?:(?:but|that)\s+)?"
)
# If an answer without a yes or no contains one of these, its sentences are not read.
_TURNED = re.compile(
    r"\b(?:might|may|could|possibl[ey]|perhaps|maybe|if|whether|unless|but|however|although|though|actually|initially|"
    r"first|except|false|untrue|incorrect|wrong|wait|claim|statement)\b"
)
# The placeholder for the thing that is asked for.
_THING = "\0"


def _frames(alone: bool) -> tuple[re.Pattern[str], ...]:
    """Patterns of sentences that say that a thing is there. A named group is a denial: one denial makes it a no."""
    name = rf"(?:(?:{_LOOKS})\s+){{0,2}}{_THING}"
    one = "|one|any|any such thing" if alone else ""
    none = "|no such thing|none" if alone else ""
    what = rf"(?:(?P<no>(?:no|zero|0|not an?|not any)\s+{name}{none})|(?:(?:{_COUNT})\s+)?{name}{one})"
    be = r"(?:is|are|was|were)(?P<not>\s+not)?(?:\s+indeed|\s+\w+ly)?"
    seem = r"do(?:es)?(?P<seems>\s+not)?\s+(?:appear|seem) to be|(?:appears?|seems?) to be"
    before = _before(word=r"(?:yes|no)\s*[,:;–-]\s*|", denial=r"(?:do\s+(?P<denied>not)\s+)?")
    ways = (
        rf"there\s+(?:{be}|{seem})\s+{what}{_TAIL}?",
        rf"(?:i|i'm|i am|we|you|one)\s+(?:(?:can|could|do|did)(?P<not>\s+not)?\s+)?(?:\w+ly\s+|able to\s+)?"
        rf"{_SEE}\s+{what}{_TAIL}?",
        rf"{_IMAGE}\s+(?:do(?:es)?(?P<not>\s+not)?\s+)?(?:{_SHOW}|show|contain|depict|include|feature|display|"
        rf"(?P<lacks>lacks?))\s+{what}{_TAIL}?",
        rf"{what}\s+(?:is|are|was|were|appears?|can be)(?:\s+\w+ly)?{_TAIL}",
        rf"{what}\s+(?:{be}|can(?P<can>\s+not)?\s+be|do(?:es)?(?P<seems>\s+not)\s+appear)(?:\s+\w+ly)?"
        rf"(?=\s+(?:visible|present|shown|seen|here|there|in)\b){_TAIL}",
        what,
    )
    return (_BARE, *(re.compile(before + way) for way in ways))


_OF_THING, _OF_ONE = _frames(alone=False), _frames(alone=True)
_AUXILIARIES = {
    "was": "is",
    "were": "are",
    **{word: word for word in ("is", "are", "does", "do", "did", "can", "has", "have")},
}
_ARTICLES = frozenset({"a", "an", "the", "any", "some"})
_OF_IMAGE = re.compile(rf"\s+(?:visible |shown |present )?in\s+{_IMAGE}\s*$")


def said_yes(answer: str, question: str = "") -> bool | None:
    """Whether an answer says yes, by the word or else by plain sentences about what is asked; None if unread."""
    text = _CHOICE.sub("", spelled_out(final_answer(answer)))
    asked = spelled_out(question).strip()
    told = [each for each in sentences_of(text) if _is_told(each) and not _MORE.search(each)]
    if any(is_withheld(each, asked) or is_doubted(each) or _BOTH.search(each) for each in told):
        return None
    sentences = [each for each in (_APOLOGY.sub("", each).strip(_SIGNS) for each in told) if each]
    words = {word == "yes" for word in _DECLARED.findall(text)}
    words |= {said for each in sentences for said in _words_in(each)}
    alone = len(sentences) == 1
    if not words:
        return None if any(map(_TURNED.search, sentences)) else _unanimous_answer(sentences, asked, alone)
    clauses = [each.strip(_SIGNS) for sentence in sentences for each in (sentence, *_CLAUSE.split(sentence))]
    parts = {*clauses, *(_LEADS.sub("", each).strip(_SIGNS) for each in clauses)}
    shown = {_answer_of_sentence(part, asked, alone) for part in parts} - {None}
    return next(iter(words)) if len(words | shown) == 1 else None


def _is_told(sentence: str) -> bool:
    """Whether a sentence has words and is no question of several words: models repeat what they are asked."""
    words = len(_WORD.findall(sentence))
    return words > 0 and not (words > 1 and sentence.endswith("?"))


def _words_in(sentence: str) -> Iterable[bool]:
    """Each yes or no at the beginning of one of its clauses, or that is the whole last clause."""
    clauses = [each.strip(_SIGNS) for each in (sentence, *_CLAUSE.split(sentence))]
    for leads in filter(None, map(_LEADS.match, clauses)):
        yield _WORDS[leads[1]]
    if trails := _TRAILS.fullmatch(clauses[-1]):
        yield trails[1] == "yes"


def _unanimous_answer(sentences: Iterable[str], asked: str, alone: bool) -> bool | None:
    """What the sentences state; None if they differ, or if one mentions the thing asked for and states neither."""
    found: set[bool | None] = set()
    for sentence in sentences:
        said = _answer_of_sentence(sentence, asked, alone)
        if said is None and _THING in _with_thing(sentence, asked):
            return None
        found.add(said)
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _answer_of_sentence(sentence: str, asked: str, alone: bool) -> bool | None:
    """Whether a sentence says only that what is asked is so (True) or is not so (False); None otherwise.

    If it is the only sentence (`alone`), `one` and `any` mean the thing asked for.
    """
    told = _with_thing(sentence, asked)
    for frame in _OF_ONE if alone else _OF_THING:
        if found := frame.fullmatch(told):
            denials = sum(group is not None for group in found.groupdict().values())
            return None if denials > 1 else not denials
    return _answer_by_repetition(sentence, asked)


def _with_thing(sentence: str, asked: str) -> str:
    """A sentence with a placeholder for the thing that the question asks for."""
    found = _ASKED_FOR.match(asked)
    thing = found and (found[1] or found[2])
    return re.sub(rf"(?<![\w-]){re.escape(thing)}(?:s|es)?(?![\w-])", _THING, sentence) if thing else sentence


def _answer_by_repetition(sentence: str, asked: str) -> bool | None:
    """Whether a sentence repeats the question as a statement, word for word: False with a `not`; None if it is not."""
    question = _telling(asked.split("?")[0].split("\n")[0])
    said = _telling(sentence)
    if len(question) < 3 or question[0] not in _AUXILIARIES or "or" in question:
        return None
    for place, word in enumerate(said[1:], 1):
        before, after = said[:place], said[place + 1 :]
        if _AUXILIARIES.get(word) == _AUXILIARIES[question[0]]:
            if before + after == question[1:]:
                return True
            if after[:1] == ["not"] and before + after[1:] == question[1:]:
                return False
        if question[0] in ("do", "does") and [*before, word.removesuffix("s"), *after] == question[1:]:
            return True
    return None


def _telling(text: str) -> list[str]:
    return [word for word in _WORD.findall(_OF_IMAGE.sub("", text.strip(_SIGNS))) if word not in _ARTICLES]
