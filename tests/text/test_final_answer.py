"""Thoughts come off an answer wherever they stand, and what stands round them stays."""

import time

import pytest

from spavl.judges.guards.published import read_finding
from spavl.text.final_answer import after_thoughts, final_answer

# A beginning, an end, each with what a model says between them.
TAGS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
]


@pytest.mark.parametrize(("begin", "end"), TAGS)
def test_thoughts_come_off_in_front_behind_and_between(begin: str, end: str) -> None:
    for text in (
        f"{begin}A? no.{end}B",
        f"B\n{begin}A is wrong.{end}",
        f"{begin}A?{end}B{begin}C?{end}",
        f"{begin}A?{end}\n{begin}C?{end}\nB",
        f"{begin}one {begin}two{end} three{end}B",
        f"A? no.{end}B",
        f"B{begin}A, since",
        f"<answer>B</answer>{begin}A?{end}",
    ):
        assert final_answer(text) == "B", text
    assert after_thoughts(f"A{begin}x{end}B").split() == ["A", "B"], "what stands round a thought is two words"
    assert after_thoughts(f"{begin}A{end}") == "" == after_thoughts(f"{begin}A")
    assert read_finding(f"unsafe\nS1\n{begin}a threat{end}") == read_finding("unsafe\nS1")


def test_the_marks_of_a_turn_before_its_thoughts_are_no_answer() -> None:
    said = (
        "<|start|>assistant<|channel|>analysis<|message|>A?<|end|><|start|>assistant<|channel|>final<|message|>B<|end|>"
    )
    assert after_thoughts(said) == "B"


@pytest.mark.parametrize("piece", ["<think>", "</think>", "<think>x</think>y"])
def test_many_thoughts_take_no_long_time(piece: str) -> None:
    begun = time.monotonic()
    after_thoughts(piece * 8000)
    assert time.monotonic() - begun < 20  # quadratic, it would take minutes
