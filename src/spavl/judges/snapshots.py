"""Whether a model's name is bound to certain weights, or is an alias that its provider may move to others."""

import re

from spavl.judges.registry import model_of
from spavl.models.backends.openai import is_loopback

# Dates in model names, as providers write them: -2024-08-06, -20250514, @20250514, -0613, -1106, or Gemini's -001.
_DATED = re.compile(r"[-@](20\d\d-\d\d-\d\d|20\d{6}|[01]\d[0-3]\d|00\d)(?![\d.])")


def moving_alias(uri: str) -> str | None:
    """A warning if the provider may move this name to other weights; None if the name is bound to its weights.

    The weights of models in this process and on servers of this machine are the user's own.
    """
    kind, _, rest = model_of(uri).partition("/")
    name, _, url = rest.partition("@http")
    if kind != "openai" or _DATED.search(name) or (url and is_loopback(f"http{url}")):
        return None
    return f"{name} may be moved to other weights by its provider: name a dated snapshot, such as gpt-4o-2024-08-06"
