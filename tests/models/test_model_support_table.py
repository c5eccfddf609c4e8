"""The table of models says what is measured, of classes whose tiny models nobody here has made by hand."""

import re

import pytest
from benchmarks.support import PAGE, ROUNDING, measure
from benchmarks.tiny_models import classes

# One of every way, and of every thing that forwards do after their head.
FAST = {
    "llava": "trees",
    "gemma3": "trees",
    "paligemma": "trees",
    "gemma4": "rows",
    "granite_docling": "rows",
    "mistral_large4": "rows",
    "muse_glimmer": "rows",
    "inkling2": "rows",
    "instructblip": "rows, whole forward",
    "blip-2": "rows, whole forward",
    "git": "rows, whole forward",
    "llama4": "rows, whole forward",
    "t5gemma2": "refused",
}


def told() -> dict[str, str]:
    """What the page says of each kind."""
    lines = re.findall(r"^\| `\w+` \| `([^`]+)` \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    return dict(lines)


@pytest.mark.parametrize("kind", FAST)
def test_a_class_is_scored_as_its_own_forward_scores_it(kind: str) -> None:
    found = measure(kind)
    assert (found.how, told()[kind]) == (FAST[kind], FAST[kind])
    assert all(apart is None or apart < ROUNDING for apart in (found.rows, found.trees))
    assert (found.rows is None) == (found.how == "refused")


def test_no_class_is_left_out() -> None:
    assert told().keys() == classes().keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", classes())
def test_every_class_is_what_the_page_says(kind: str) -> None:
    assert measure(kind).how == told()[kind]
