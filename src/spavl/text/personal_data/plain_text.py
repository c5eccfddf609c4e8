"""A text as the patterns read it: ASCII digits and signs, without invisible characters; and where each one was."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

# Dashes and spaces of any kind are read as - and as a space; a dash between words as a space too.
_DASHES = frozenset("‐‑‒–−﹣－")
_DASHES_OF_WORDS = frozenset("—―⸺⸻")
# Characters as HTML, JSON, URLs and Markdown spell them.
_ESCAPE = re.compile(
    r"[&\\%](?:(?<=&)(?:#0{0,4}(\d{2,3});|#x0{0,4}([0-9a-f]{2});|commat;)|(?<=%)40|"
    r"(?<=\\)(?:\\?(?:u00|x)([0-9a-f]{2})|@))",
    re.I,
)


class PlainText(NamedTuple):
    """`places[i]` is the index in the original of character `i` of the text; the last one is the original's length."""

    text: str
    places: list[int] | range

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the original of a span of this text, which is not empty."""
        return self.places[start], self.places[end]


def plain_text(original: str) -> PlainText:
    if original.isascii() and not _ESCAPE.search(original):
        return PlainText(original, range(len(original) + 1))
    characters: list[str] = []
    places: list[int] = []
    for place, character in _without_escapes(original):
        if not (plain := _plain(character)):
            continue
        # Chinese, Japanese, Thai and others write no spaces, so a number or an address may touch a word.
        if characters and _touch(characters[-1], plain):
            characters.append(" ")
            places.append(place)
        characters.append(plain)
        places.append(place)
    return PlainText("".join(characters), [*places, len(original)])


def _without_escapes(original: str) -> Iterator[tuple[int, str]]:
    """The characters with their places. Escapes of printable ASCII characters are read as these."""
    place = 0
    for found in _ESCAPE.finditer(original):
        code = int(found[1]) if found[1] else int(found[2] or found[3] or "40", 16)
        character = chr(code)
        if " " <= character <= "~":
            yield from enumerate(original[place : found.start()], place)
            yield found.start(), character
            place = found.end()
    yield from enumerate(original[place:], place)


def _plain(character: str) -> str:
    """A character as it looks in ASCII, or as it is; nothing where it is invisible."""
    if character.isascii():
        return character
    category = unicodedata.category(character)
    # Format characters, such as a zero-width space or a soft hyphen, and marks that enclose a digit.
    if category in ("Cf", "Me"):
        return ""
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category == "Zs" or character in _DASHES_OF_WORDS:
        return " "
    if category == "Pd" or character in _DASHES:
        return "-"
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def _touch(left: str, right: str) -> bool:
    """Whether one is an ASCII letter or digit, and the other a letter of a script without capitals."""
    if left.isascii() == right.isascii():
        return False
    word, other = (left, right) if left.isascii() else (right, left)
    return word.isalnum() and unicodedata.category(other) in ("Lo", "Lm")
