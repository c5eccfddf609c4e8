"""Prints lines to the terminal so that no content can control it.

The content may come from a server, a file name, a taxonomy or a model's name.
"""

import re
from typing import TextIO

from spavl.text.secrets import without_keys, without_userinfo

# Control characters, line separators, marks that change the direction of text, and lone surrogates.
FORGING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
BAD = "\ufffd"


def line(text: str) -> str:
    """A text as one line without control characters. Known keys and the credentials in addresses are removed."""
    return FORGING.sub(BAD, _BREAKS.sub(" ", without_userinfo(without_keys(text)))).expandtabs(4)


def tell(*lines: str, file: TextIO | None = None) -> None:
    """Print each as one line of its own."""
    for each in lines:
        print(line(each), file=file)
