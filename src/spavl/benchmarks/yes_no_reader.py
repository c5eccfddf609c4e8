"""Whether an answer says yes or no. Either must be stated: a refusal, a doubt and an excuse say neither."""

import re

from spavl.text.final import final_answer

_YES, _NO = frozenset({"yes", "yeah", "yep", "yup"}), frozenset({"no", "nope", "nah"})
_DECLARED = re.compile(r"\banswer\b[^\w]{0,6}(?:(?:is|would be|should be)\b)?[^\w]{0,6}(yes|no)\b")
_BOTH = re.compile(r"(?:yes\W+(?:or\W+)?no|no\W+or\W+yes)\b")
_SENTENCE = re.compile(r"[^.!?\n]*\w[^.!?\n]*")
_MARKS = re.compile(r"[*_`#\"“”>|$]+")
# With a denial, they say that the speaker cannot or will not tell, or that nothing was there to be told.
_NOT_TOLD = re.compile(
    r"\b(?:sure|certain|clear|know|tell|say|possible|enough|whether|able|unable|allowed|permitted|comfortable|"
    r"appropriate|suitable|acceptable|ethical|okay|ok|something|accessible|available|attached|uploaded|applicable|"
    r"(?:determin|confirm|verif|answer|assist|help|comply|discuss|engage|respond|fulfil|process|provid|load)\w*)\b"
)
_EXCUSES = (
    "image|images|picture|pictures|photo|photos|idea|ideas|way|information|info|comment|access|ability|opinion|"
    "answer|answers|need|problem|problems|doubt|matter|means|reason|context|question|input|file|attachment|guarantee"
)
_NONE_OF_IT = re.compile(rf"\bno\b(?!\s+(?:{_EXCUSES})\b)|\bnope\b|\bnah\b")
_NOT = re.compile(r"\bnot\b(?!\s+only\b)")
# Of what the speaker does not do, only not to see or find a thing, and not to think so, is an answer.
_BY_SPEAKER = re.compile(r"\b(?:i|we|i'm|we're|i'd|i'll)\b[^,;:]*$")
_NOT_SEEN = re.compile(
    r"\bnot\s+(?:currently\s+|actually\s+)?(?:see|find|spot|notice|observe|detect)\s+"
    r"(?!(?:(?:the|an?|any|your|this|that)\s+)?(?:attached\s+)?(?:image|picture|photo|photograph|file|it|that|this|anything)s?\b)"
    r"|\bnot\s+(?:think|believe)\b"
)
_UNSEEN_IMAGE = re.compile(r"\b(?:image|picture|photo|photograph|question|request)\s+(?:is|was|has|can|could)\s+not\b")
_ASKED_FOR = re.compile(
    r"(?:is|are) there (?:an?|any|some|the)?\s*([\w\s'-]+?)\s*(?:\?|$|\b(?:in|on|at|visible|present)\b)"
)
_SHOWN = re.compile(
    r"\bthere(?:'s| is| are)\b|\b(?:i|we|you) (?:can |do )?see\b|\b(?:is|are) (?:present|visible|shown|there)\b|"
    r"\b(?:shows?|contains?|depicts?|includes?|features?|displays?|has)\b"
)
_HEDGE = re.compile(r"\b(?:might|may|could|possibly|perhaps|maybe|if|whether|would|unless)\b")


def said_yes(answer: str, question: str = "") -> bool | None:
    """What an answer declares, or else what its first sentence says, or its last one where the first says nothing."""
    text = _MARKS.sub(" ", final_answer(answer)).casefold()
    text = re.sub(r"n't\b", " not", text.replace("cannot", "can not").replace("can't", "can not"))
    if declared := set(_DECLARED.findall(text)):
        return declared == {"yes"} if len(declared) == 1 else None
    sentences = _SENTENCE.findall(text)
    for sentence in dict.fromkeys([*sentences[:1], *sentences[-1:]]):
        if (said := _stated(sentence.strip(), question)) is not None:
            return said
    return None


def _stated(sentence: str, question: str) -> bool | None:
    words = re.findall(r"[a-z']+", sentence)
    if not words or _BOTH.match(sentence):
        return None
    denied, not_told = _NOT.search(sentence), _NOT_TOLD.search(sentence)
    if words[0] in _YES:
        return True
    if words[0] in _NO:
        withheld = denied and not_told and _BY_SPEAKER.search(sentence[: denied.start()])
        return None if withheld or not _NONE_OF_IT.match(sentence) else False
    no = bool(_NONE_OF_IT.search(sentence)) or _denies(sentence)
    yes = bool(_YES & set(words)) or _shows_what_is_asked_for(sentence, question)
    return None if yes == no or (not_told and (no or denied)) else yes


def _denies(sentence: str) -> bool:
    """Whether it says `not` of what is asked about, and not only of what the speaker can or will do."""
    for found in _NOT.finditer(sentence):
        if not _BY_SPEAKER.search(sentence[: found.start()]):
            if not _UNSEEN_IMAGE.search(sentence):
                return True
        elif _NOT_SEEN.match(sentence, found.start()):
            return True
    return False


def _shows_what_is_asked_for(sentence: str, question: str) -> bool:
    """Whether it repeats as a fact that there is what the question asks for."""
    if not (asked := _ASKED_FOR.match(question.strip().casefold())) or _NOT.search(sentence) or _HEDGE.search(sentence):
        return False
    named = re.search(rf"\b{re.escape(asked[1])}(?:s|es)?\b", sentence)
    return bool(named and _SHOWN.search(sentence)) and not _NONE_OF_IT.search(sentence)
