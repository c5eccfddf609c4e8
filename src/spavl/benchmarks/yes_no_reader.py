"""Whether an answer says yes or no. Either must be stated: a refusal, a doubt and an excuse say neither.

A denial counts only of seeing, being or showing, or of what is asked for: that guidelines do not permit it
and that an image did not come through deny nothing. Whatever is read as a no has a twin that is read as a yes.
"""

import re

from spavl.text.final import final_answer

_YES = frozenset({"yes", "yeah", "yep", "yup"})
# Alone or first, in the languages that models answer in. A Spanish or Italian no is an English one.
_FIRST = {
    **dict.fromkeys(
        ("sí", "sì", "oui", "ja", "sim", "да", "evet", "tak", "是", "是的", "有", "はい", "예", "네"), True
    ),
    **dict.fromkeys(
        ("non", "nein", "não", "нет", "hayır", "nie", "不", "不是", "没有", "否", "いいえ", "아니요"), False
    ),
    **dict.fromkeys(_YES, True),
    **dict.fromkeys(("no", "nope", "nah"), False),
}
_DECLARED = re.compile(r"\banswer\b[^\w]{0,6}(?:(?:is|would be|should be)\b)?[^\w]{0,6}(yes|no)\b")
_CHOICE = re.compile(r"^\W*yes\s*(?:/|or)\s*no\s*[:?]\W*(?=\w)")
_BOTH = re.compile(r"(?:yes\W+(?:(?:or|and)\W+)?no|no\W+(?:or|and)\W+yes)\b")
_SENTENCE = re.compile(r"[^.!?\n。！]+[?]?")
_MARKS = re.compile(r"[*_`#\"“”>|$]+|(?<!\w)'|'(?!\w)")
_SIGNS = " \t.,;:!?-–—()[]{}\\/✅❌✔✗➡️=<~"
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_BUT = re.compile(r"(?:,|;|^|\s)\s*(?:but|however)\b,?")
_CLAUSE = re.compile(r"[,;:()—]|\b(?:and|but|while|although|though)\b")

_IMAGE = (
    r"(?:(?:the|an?|any|your|this|that|attached|actual|uploaded|such|or|image|view)\s+){0,4}"
    r"(?:images?|pictures?|photos?|photographs?|files?|attachments?|links?)\b(?!\s+(?:of|with|showing|that|where)\b)"
)
# What is no answer, whatever is said before it: a refusal, an offer of help, an image that did not arrive.
_WITHHELD = re.compile(
    r"\b(?:must|have to|will|i|respectfully)\s+(?:decline|refuse)\b|"
    r"\b(?:inappropriate|unethical|not appropriate)\b|"
    r"\b(?:my|our|safety|content|usage|\w+'s)\s+(?:\w+\s+)?(?:guidelines|polic(?:y|ies)|principles)\b|"
    r"\b(?:rather|prefer) not\b|\bnot (?:feel )?comfortable\b|^no\W+thank|"
    r"\b(?:can|could|will|would|am|'m|to) not\s+(?:\w+ly\s+|be\s+|going\s+to\s+)*"
    r"(?:help|assist|answer|comply|do (?:this|that|it|so)|fulfil|discuss|engage|respond|provide|share|process|describe|"
    r"identify (?:that|this|people|persons|individuals|any\w+|some\w+)\b)|"
    rf"\b(?:access|view|see|open|load|find|have|attach|upload|provide|include|contain|receive|get)\s+{_IMAGE}|"
    r"\bi(?:'d|'ll)?\s+(?:(?:can|could|would|will|am|be)\s+)?(?:\w+\s+){0,2}?(?:help|assist)\b|"
    r"\b(?:please|kindly|could you|can you)\s+(?:\w+\s+)?(?:upload|provide|share|attach|send|resend|re-?upload)\b|"
    rf"\b{_IMAGE}\s+(?:is|was|has|have|did|does|do|are|were|can|could)\s+not\s+(?:\w+\s+)?(?:upload|load|attach|provided|"
    r"available|visible|accessible|displayed|open|process|come|sent|shared|render|work|found|included|received|show up|"
    r"showing(?:\s*$|\s+up)|clear)|"
    rf"\bno\s+{_IMAGE}|{_IMAGE} not found|^\W*(?:error|404)\b|\ban error\b|\bas an (?:ai|artificial)\b.*\bnot\b|"
    r"^(?:no|não|non)\W+(?:puedo|podemos|es posible|tengo|posso|consigo|tenho|è possibile)\b"
)
_SEES_IMAGE = re.compile(rf"\b(?:access|view|see|open|load|find|have|include|contain)\s+{_IMAGE}")
# "No, I can't." says nothing of what is there, unless it was asked what the model can.
_CAN_NOT = re.compile(r"\b(?:i|we)\s+(?:can|will|could|would|shall|must) not\s*(?:see\s*)?$")
_ASKED_OF_SPEAKER = re.compile(r"^\s*(?:can|could|do|will|would|are) you\b")
# With a denial just before it, it says that the speaker cannot or will not tell, or that nothing was there to be told.
_NOT_TOLD = re.compile(
    r"\b(?:not|no|never|hard|difficult|impossible)\b(?:\s+[\w']+){0,2}?\s+"
    r"(?:sure|certain|clear|know|tell|say|possible|enough|whether|allowed|permitted|comfortable|"
    r"appropriate|suitable|acceptable|ethical|okay|ok|something|accessible|available|attached|uploaded|applicable|"
    r"(?:determin|confirm|verif|answer|assist|help|comply|discuss|engage|respond|fulfil|process|provid|load)\w*)\b"
)
_EXCUSES = (
    "image|images|picture|pictures|photo|photos|idea|ideas|way|information|info|comment|access|ability|opinion|"
    "answer|answers|need|problem|problems|doubt|matter|means|reason|context|question|input|file|attachment|guarantee|"
    "response|thanks"
)
_NONE_OF_IT = re.compile(rf"\bno\b(?!\s+(?:(?:{_EXCUSES})\b(?!\s+of\b)|more\b))|\bnope\b|\bnah\b")
_SEEING = r"(?:see|seeing|find|found|spot|notice|observe|detect|make out)"
_NOT_SEEN = re.compile(
    rf"\bnot\s+(?:\w+ly\s+|able to\s+)?{_SEEING}\s+"
    rf"(?!{_IMAGE}|(?:it|that|this|anything)\b)|\bnot\s+(?:\w+ly\s+)?(?:think|believe)\b"
)
_THERE_IS_NOT = re.compile(r"\bthere\s+(?:is|are|was|were|does|do)\s+not\b")
_NOT_SHOWN = re.compile(
    rf"\bnot\s+(?:\w+ly\s+)?(?:show|contain|depict|include|feature|display|have|appear|seem|look|exist|{_SEEING})\b"
    rf"(?!\s+(?:{_IMAGE}|up\b|like an?\s+\w+\s+(?:question|request)))"
)
_NOT_THERE = re.compile(
    r"\bnot\s+(?:\w+ly\s+|be\s+)*(?:visible|present|shown|seen|there|depicted|pictured|included|in|detected|observed)\b"
)
_BARE_NOT = re.compile(
    r"^(?:\w+ly\s+|of course\s+)?not(?:\s+(?:in (?:this|the) \w+|that i can see|at all|really))?$|"
    r"^(?:it|they|there|he|she|this|that|these|those)\s+(?:is|are|does|do|was|were|has|have|can)\s+not$"
)
_BARE_YES = re.compile(
    r"^(?:it|they|there|he|she|these|those)\s+(?:is|are|does|do|was|were|has|have|can)$|\b(?:think|believe) so$"
)
_IS_NOT = re.compile(r"(?:\b(?:is|are|was|were|has|have|does)|'s|^|,)\s*not\b(?!\s+only\b)")
_BY_SPEAKER = re.compile(r"\b(?:i|we|you|i'm|we're|i'd|i'll)(?:\s+\w+){0,2}\s*$")
_ASKED_FOR = re.compile(
    r"(?:is|are) there (?:an?|any|some|the)?\s*([\w\s'-]+?)\s*(?:\?|$|\b(?:in|on|at|visible|present)\b)"
)
_SHOWN = re.compile(
    r"\bthere(?:'s| is| are| appears? to be| seems? to be)\b|"
    rf"\b(?:i|we|you|i'm) (?:can |do |am )?(?:able to )?{_SEEING}\b|"
    r"\b(?:is|are) (?:present|visible|shown|there)\b|\bcan be seen\b|"
    r"\b(?:shows?|contains?|depicts?|includes?|features?|displays?|has)\b"
)
_HEDGE = re.compile(r"\b(?:might|may|could|possibly|perhaps|maybe|if|whether|would|unless)\b")
_DOUBT = re.compile(r"\b(?:might|may|possibly|perhaps|maybe|if|whether|unless|doubt)\b")
_WITHOUT = re.compile(r"\b(?:no|not|nothing|without|neither|nor|lacks?|lacking|absent|missing|none)\b")
_NOT_ANOTHER = re.compile(r",\s*(?:and\s+)?not\b[^,;]*$")
_BEING = re.compile(r"\b(?:is|are|was|were|has|have)\b|'s\b")
_VERB = re.compile(
    r"\b(?:is|are|was|were|can|has|have|there's|see|shows?|contains?|depicts?|includes?|features?|lies|sits)\b"
)
# Words of any question.
_COMMON = frozenset(
    _WORD.findall(
        "is are was were there the a an any some in on at of to it this that do does did you see can image picture "
        "photo photograph answer question using single word or phrase please yes no with and not by for be"
    )
)


def said_yes(answer: str, question: str = "") -> bool | None:
    """What an answer declares, or else what its first sentence says, or its last one where the first says nothing."""
    text = _MARKS.sub(" ", final_answer(answer)).casefold()
    for short, long in (("cannot", "can not"), ("can't", "can not"), ("won't", "will not"), ("n't", " not")):
        text = text.replace(short, long)
    text = re.sub(r"\b(?:not able|unable) to\b", "can not", text)
    text = _CHOICE.sub("", text)
    asked = question.strip().casefold()
    sentences = [each for each in map(str.strip, _SENTENCE.findall(text)) if _told(each)]
    if declared := set(_DECLARED.findall(text)):
        withheld = _WITHHELD.search(sentences[0]) if sentences else None
        return declared == {"yes"} if len(declared) == 1 and not withheld else None
    for place in dict.fromkeys([0, len(sentences) - 1] if sentences else []):
        sentence = sentences[place].strip(_SIGNS)
        after = sentences[place + 1] if place + 1 < len(sentences) else ""
        if (said := _first_word(sentence, after, asked)) is not None:
            return said
        if _is_withheld(sentence, asked) or re.match(r"(?:yes|no)\b", sentence):
            return None
        if (said := _stated(sentence, asked)) is not None:
            return said
    return None


def _told(sentence: str) -> bool:
    """Whether it has words, and is no question but a word with a sign behind it: models repeat what they are asked."""
    words = len(_WORD.findall(sentence))
    return words > 0 and not (words > 1 and sentence.endswith("?"))


def _first_word(sentence: str, after: str, asked: str) -> bool | None:
    """What the first word says, unless it leads to a refusal or an excuse."""
    words = _WORD.findall(sentence)
    if not words or words[0] not in _FIRST or _BOTH.match(sentence):
        return None
    said, rest = _FIRST[words[0]], after if len(words) == 1 else sentence
    if _shows_what_is_asked_for(_BUT.split(sentence.removeprefix(words[0]))[0], asked) is said:
        return said
    if _is_withheld(rest, asked) or (not said and not _NONE_OF_IT.match(sentence) and words[0] == "no"):
        return None
    denied = _NOT_TOLD.search(sentence)
    by_speaker = denied and not said and _BY_SPEAKER.search(sentence[: denied.start()])
    return None if by_speaker and not _NOT_SEEN.search(sentence) else said


def _is_withheld(sentence: str, asked: str) -> bool:
    sentence = sentence.strip(" .!?,")
    for found in _WITHHELD.finditer(sentence):
        of_image = _SEES_IMAGE.fullmatch(found[0])
        if not of_image or re.search(r"\b(?:not|no)\b[\w\s]{0,20}$", sentence[: found.start()]):
            return True
    return bool(_CAN_NOT.search(sentence)) and not _ASKED_OF_SPEAKER.match(asked)


def _stated(sentence: str, asked: str) -> bool | None:
    """Of a sentence with a `but`, first what stands behind it."""
    parts = _BUT.split(sentence)
    for part in dict.fromkeys([parts[-1].strip(), sentence]):
        words = _WORD.findall(part)
        if not words or _BOTH.match(part):
            continue
        shown = _shows_what_is_asked_for(part, asked)
        no = bool(_NONE_OF_IT.search(part)) or _denies(part, asked) if shown is None else not shown
        bare = bool(_YES & set(words)) or (bool(_BARE_YES.search(part)) and "not" not in words)
        yes = bare or bool(shown) or _echoes(part, asked)
        if yes != no and not _NOT_TOLD.search(part) and not _DOUBT.search(part):
            return yes
    return None


def _denies(sentence: str, asked: str) -> bool:
    """Whether it says `not` of what is asked about, and not only of what the speaker can or will do."""
    if _NOT_SEEN.search(sentence) or _THERE_IS_NOT.search(sentence) or _BARE_NOT.search(sentence):
        return True
    found = [each for way in (_NOT_SHOWN, _NOT_THERE) for each in way.finditer(sentence)]
    found += [each for each in _IS_NOT.finditer(sentence) if _of_what_is_asked(each, sentence, asked)]
    return any(not _BY_SPEAKER.search(sentence[: each.start()]) for each in found)


def _of_what_is_asked(denial: re.Match[str], sentence: str, asked: str) -> bool:
    """Whether what it denies, or else what it denies it of, is in the question."""
    before, after = _CLAUSE.split(sentence[: denial.start()])[-1], _CLAUSE.split(sentence[denial.end() :])[0]
    return bool((_telling(after) or _telling(before)) & _telling(asked))


def _echoes(sentence: str, asked: str) -> bool:
    """Whether it says as a fact what the question asks, in the question's own words and no others."""
    question, sentence = asked.split("?")[0], _NOT_ANOTHER.sub("", sentence)
    said, words = _telling(sentence), _telling(question)
    if not said or not said <= words or not _BEING.search(sentence) or re.search(r"\bor\b", question):
        return False
    last = next(word for word in reversed(_WORD.findall(question)) if word in words)
    return last in said and not (_WITHOUT.search(sentence) or _HEDGE.search(sentence))


def _telling(text: str) -> set[str]:
    return {*_WORD.findall(text)} - _COMMON


def _shows_what_is_asked_for(sentence: str, asked: str) -> bool | None:
    """Whether it says as a fact that there is what the question asks for, or that there is none of it."""
    if not (thing := _ASKED_FOR.match(asked)) or _HEDGE.search(sentence) or _NOT_TOLD.search(sentence):
        return None
    name = rf"{re.escape(thing[1])}(?:s|es)?\b(?!-)"
    alone = re.compile(
        rf"^\W*(?:(?:an?|the|one|two|three|some|several|many)\s+)?{name}(?:\s*$|\s+(?:is|are|was|were|can|lies|lie|sits|sit|"
        r"stands|stand|in|on|at|near|lying|sitting|standing|that|which|visible|present)\b)"
    )
    found, denied = set(), False
    for clause in _CLAUSE.split(sentence):
        denial = _WITHOUT.search(clause)
        denied = bool(denial) or (denied and not _VERB.search(clause))
        if not re.search(rf"\b{name}", clause):
            continue
        if denied and (denial is None or not _BY_SPEAKER.search(clause[: denial.start()]) or _NOT_SEEN.search(clause)):
            found.add(False)
        elif not denied and (_SHOWN.search(sentence) or alone.match(clause)):
            found.add(True)
    return found.pop() if len(found) == 1 else None
