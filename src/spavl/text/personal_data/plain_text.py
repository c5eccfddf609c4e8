"""A text as the patterns read it: ASCII digits and signs, without invisible characters; and where each one was."""

import unicodedata
from typing import NamedTuple

# Dashes and spaces of any kind are read as - and as a space.
_DASHES = dict.fromkeys("‐‑‒–—―−﹣－", "-")


class PlainText(NamedTuple):
    """`places[i]` is the index in the original of character `i` of the text."""

    text: str
    places: list[int] | range

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span in the original of a span of this text, which is not empty."""
        return self.places[start], self.places[end - 1] + 1


def plain_text(original: str) -> PlainText:
    if original.isascii():
        return PlainText(original, range(len(original)))
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(original):
        if character.isascii():
            characters.append(character)
            places.append(place)
            continue
        category = unicodedata.category(character)
        # Format characters, such as a zero-width space or a soft hyphen, and marks that enclose a digit.
        if category in ("Cf", "Me"):
            continue
        if category == "Nd":
            plain = str(unicodedata.digit(character))
        elif category == "Zs":
            plain = " "
        elif category == "Pd" or character in _DASHES:
            plain = "-"
        else:
            plain = unicodedata.normalize("NFKC", character)
        characters.append(plain if len(plain) == 1 else character)
        places.append(place)
    return PlainText("".join(characters), places)
