"""Strips labels, quotes and announcements around a text that a model wrote."""

import re

from spavl.text.similarity import count_words

_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "'": "'", "「": "」", "*": "*", "`": "`"}
# "Question:", "**Hard statement:**", "Here is the question:" and their like before the text itself.
_LABEL = re.compile(
    r"^[*#_\s]{0,4}(?:(?:here(?:['’]s| is)|the|my|one|easy|harder|hard|harmless|short|detailed) ){0,4}"
    r"(?:question|statement|caption|description)[*_]{0,3}:[*_\s]{1,4}",
    re.I,
)
_LONGEST_ANNOUNCEMENT = 12
# Role markers of chat templates. In a question they would reach the chat templates of other models.
_TEMPLATE_MARK = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?s>|<image>|<image_\w+>|<(?:start|end)_of_turn>|"
    r"^#{2,} ?(?:human|user|assistant|system|instruction|response)\b|^(?:human|user|assistant|system) ?:",
    re.I | re.M,
)
_DATA = re.compile(r"^\s*(?:```|[{\[<]|\"\w+\"\s*:)")


def tidy(text: str) -> str:
    """The text without a label, quotes around it, or a first line that only announces it."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith((":", "：")) and count_words(lines[0]) <= _LONGEST_ANNOUNCEMENT:
        lines = lines[1:]
    plain = _LABEL.sub("", "\n".join(lines)).strip()
    while len(plain) > 1 and _QUOTES.get(plain[0]) == plain[-1] and plain[0] not in plain[1:-1]:
        plain = plain[1:-1].strip()
    return plain


def holds_template_marks(text: str) -> bool:
    return _TEMPLATE_MARK.search(text) is not None


def looks_like_data(text: str) -> bool:
    """Whether a text is JSON, markup or code instead of plain words."""
    return _DATA.match(text) is not None
