"""Whether a sentence withholds an answer: a refusal, a doubt, an offer of help, or an image that did not arrive."""

import re

_MARKS = re.compile(r"[*_`#\"“”>|$]+|(?<!\w)'|'(?!\w)")
_SENTENCE = re.compile(r"[^.!?\n。！]+[?]?")
_NOT_ABLE = re.compile(r"\b(?:not able|unable) to\b")
_IMAGE = (
    r"(?:(?:the|an?|any|your|this|that|attached|actual|uploaded|such|or|image|view|visible)\s+){0,4}"
    r"(?:images?|pictures?|photos?|photographs?|files?|attachments?|links?)\b(?!\s+(?:of|with|showing|that|where)\b)"
)
_WITHHELD = re.compile(
    r"\b(?:must|have to|will|i|respectfully)\s+(?:decline|refuse)\b|"
    r"\b(?:inappropriate|unethical|not appropriate)\b|"
    r"\b(?:my|our|safety|content|usage|\w+'s)\s+(?:\w+\s+)?(?:guidelines|polic(?:y|ies)|principles)\b|"
    r"\b(?:rather|prefer) not\b|\bnot (?:feel )?comfortable\b|^no\W+thank|"
    r"\b(?:can|could|will|would|am|'m|to) not\s+(?:\w+ly\s+|be\s+|going\s+to\s+)*"
    r"(?:help|assist|answer|comply|do (?:this|that|it|so)|fulfil|discuss|engage|respond|provide|share|process|describe|"
    r"identify (?:that|this|people|persons|individuals|any\w+|some\w+)\b)|"
    r"\bi(?:'d|'ll)?\s+(?:(?:can|could|would|will|am|be)\s+)?(?:\w+\s+){0,2}?(?:help|assist)\b|"
    r"\b(?:please|kindly|could you|can you)\s+(?:\w+\s+)?(?:upload|provide|share|attach|send|resend|re-?upload)\b|"
    rf"\b{_IMAGE}\s+(?:is|was|has|have|did|does|do|are|were|can|could)\s+not\s+(?:\w+\s+)?(?:upload|load|attach|provided|"
    r"available|visible|accessible|displayed|open|process|come|sent|shared|render|work|found|included|received|show up|"
    r"showing(?:\s*$|\s+up)|clear)|"
    rf"\bno\s+{_IMAGE}|{_IMAGE} not found|^\W*(?:error|404)\b|\ban error\b|\btext-based\b|"
    r"\bas an (?:ai|artificial)\b.*\bnot\b|\bno (?:visible |further |other )?(?:content|comments?|idea|ideas)\b|"
    r"^(?:no|não|non)\W+(?:puedo|podemos|es posible|tengo|posso|consigo|tenho|è possibile)\b"
)
_OF_IMAGE = re.compile(
    rf"\b(?:not|no)\b[\w\s]{{0,20}}\b(?:access|view|see|open|load|find|have|attach|upload|provide|include|contain|"
    rf"receive|get)\s+{_IMAGE}|\b(?:attach|upload|provide|receive|get)\s+{_IMAGE}"
)
# After a denial, these say that the speaker cannot or will not answer.
_DOUBT = re.compile(
    r"\b(?:not|no|never|hard|difficult|impossible)\b(?:\s+[\w']+){0,2}?\s+"
    r"(?:sure|certain|clear|know|tell|say|possible|enough|whether|allowed|permitted|comfortable|way|information|"
    r"appropriate|suitable|acceptable|ethical|okay|ok|something|accessible|available|attached|uploaded|applicable|listed|offered|"
    r"(?:determin|confirm|verif|answer|assist|help|comply|discuss|engage|respond|fulfil|process|provid|load)\w*)\b|"
    r"\b(?:unsure|uncertain|unclear|impossible|unanswerable|i doubt|no matter)\b"
)
# "No, I can't." does not answer the question, unless it is about what the model can do.
_CAN_NOT = re.compile(r"\b(?:i|we)\s+(?:can|will|could|would|shall|must) not\s*(?:see\s*)?$")
_ASKED_OF_SPEAKER = re.compile(r"^\s*(?:can|could|do|will|would|are) you\b")
_TAKEN_BACK = re.compile(
    r"\b(?:wait|actually|correct(?:ed|ion)|hmm+|on second thought|mistaken?|reconsider\w*|scratch that)\b",
    re.IGNORECASE,
)


def spelled_out(text: str) -> str:
    """The text in lower case, without Markdown and quotes, with the short forms of `not` written out."""
    text = _MARKS.sub(" ", text).casefold()
    for short, long in (
        ("cannot", "can not"),
        ("can't", "can not"),
        ("won't", "will not"),
        ("n't", " not"),
        ("there's", "there is"),
    ):
        text = text.replace(short, long)
    return _NOT_ABLE.sub("can not", text)


def sentences_of(text: str) -> list[str]:
    return [each for each in map(str.strip, _SENTENCE.findall(text)) if each]


def is_withheld(sentence: str, asked: str = "") -> bool:
    """Whether a sentence (after `spelled_out`) refuses, offers help in place of an answer, or reports a lost image."""
    sentence = sentence.strip(" .!?,")
    if _WITHHELD.search(sentence) or _OF_IMAGE.search(sentence):
        return True
    return bool(_CAN_NOT.search(sentence)) and not _ASKED_OF_SPEAKER.match(asked)


def is_doubted(sentence: str) -> bool:
    """Whether a sentence (after `spelled_out`) says that something is unknown or uncertain."""
    return _DOUBT.search(sentence) is not None


def is_taken_back(rest: str) -> bool:
    """Whether what follows an answer takes it back."""
    return _TAKEN_BACK.search(rest) is not None


def says_nothing(text: str) -> bool:
    """Whether any sentence of a text withholds its answer or doubts it."""
    return any(is_withheld(each) or is_doubted(each) for each in sentences_of(spelled_out(text)))
