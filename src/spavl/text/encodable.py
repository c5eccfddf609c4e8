"""Whether a text can be written as UTF-8: JSON can contain half a character, as in "\\ud800"."""

import json


def is_encodable(value: object) -> bool:
    """Whether UTF-8 can write all texts in what was read of JSON."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
