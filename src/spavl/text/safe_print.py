"""Prints lines to the terminal so that no content can control it.

What is shown may have been written by a server, a file's name, a taxonomy or a model's name.
"""

import re
from typing import TextIO

from spavl.text.secrets import without_keys, without_userinfo

# Control characters, marks that end a line or turn the direction of the text around them, and halves of characters.
FORGING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
BAD = "\ufffd"


def line(text: str) -> str:
    """A text as one line that can do nothing but be read. Keys and passwords that are known are left out."""
    return FORGING.sub(BAD, _BREAKS.sub(" ", without_userinfo(without_keys(text)))).expandtabs(4)


def tell(*lines: str, file: TextIO | None = None) -> None:
    """Print each as one line of its own."""
    for each in lines:
        print(line(each), file=file)
