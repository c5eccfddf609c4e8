"""Whether a text can be encoded as UTF-8: JSON can contain a lone surrogate, as in "\\ud800"."""

import json


def is_encodable(value: object) -> bool:
    """Whether all strings of a parsed JSON value can be encoded as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
