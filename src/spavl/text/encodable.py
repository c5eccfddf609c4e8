"""Texts that no file can hold: JSON can spell half a character, as in "\\ud800", and UTF-8 cannot write it."""

import json


def is_encodable(value: object) -> bool:
    """Whether UTF-8 can write all texts in what was read of JSON."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
