"""Every image filter on photographs that nobody here drew: how many are rejected for nothing, how many faces missed.

SPAVL_PHOTOGRAPHS names folders of photographs, with the system's path separator between them. Those of people lie in
folders named `faces`; they were put there by a person who looked at them, not by a filter. To see the names of all that
is rejected: SPAVL_PHOTOGRAPHS=FOLDER pytest -s -m reality tests/reality/test_photographs.py
"""

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.filters import FilterInput, ImageFilter, filters_of
from spavl.imaging.decode import Undecodable, decode
from spavl.statistics import Estimate, wilson
from spavl.text.safe_print import tell

FOLDERS = [Path(each) for each in os.environ.get("SPAVL_PHOTOGRAPHS", "").split(os.pathsep) if each]
pytestmark = [
    pytest.mark.reality,
    pytest.mark.skipif(not FOLDERS, reason="SPAVL_PHOTOGRAPHS names no folder of photographs"),
]
# `drop` decides as `blur` and `count` do.
SETTINGS = DownloadsConfig(max_nudity=0.5, max_text_area=0.3, faces="drop", personal_words="drop")
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
FEWEST = 300


class Measured(NamedTuple):
    """Photographs of one kind: how many were measured, and those that each filter would reject, by its reason."""

    count: int
    rejected: dict[str, list[str]]
    undecodable: list[str]

    def rate(self, reason: str) -> Estimate:
        return wilson(len(self.rejected[reason]), self.count)


def photographs(of_people: bool) -> Iterator[Path]:
    for folder in FOLDERS:
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in ENDINGS and ("faces" in file.relative_to(folder).parts[:-1]) == of_people:
                yield file


@cache
def measured(of_people: bool) -> Measured:
    """Each filter measures each photograph, whatever the others say."""
    filters = filters_of(SETTINGS)
    rejected: dict[str, list[str]] = {each.reason: [] for each in filters}
    seconds = dict.fromkeys(["decoding", *(each.name for each in filters)], 0.0)
    count, undecodable = 0, []
    for file in photographs(of_people):
        began = time.process_time()
        try:
            pixels = decode(file.read_bytes(), file.name).pixels
        except Undecodable as error:
            undecodable.append(f"{file.name} ({error})")
            continue
        seconds["decoding"] += time.process_time() - began
        count += 1
        for each in filters:
            value, taken = timed(each, FilterInput(pixels, "", None))
            seconds[each.name] += taken
            if each.refuses(value):
                rejected[each.reason].append(f"{file.name} ({value:g})")
    found = Measured(count, rejected, undecodable)
    tell("", f"{count} photographs {'of people' if of_people else 'without people'}; not decoded: {undecodable}")
    for reason, names in rejected.items():
        rate = found.rate(reason)
        tell(f"  {reason}: {len(names)} ({rate.value:.1%}, {rate.low:.1%} to {rate.high:.1%}): {', '.join(names)}")
    least = max(seconds["decoding"], 1e-9)
    tell("  time over that of decoding: " + ", ".join(f"{name} {each / least:.2f}" for name, each in seconds.items()))
    return found


def timed(image_filter: ImageFilter, seen: FilterInput) -> tuple[float, float]:
    began = time.process_time()
    return image_filter.measure(seen), time.process_time() - began


def test_there_are_enough_photographs() -> None:
    assert measured(False).count >= FEWEST


@pytest.mark.parametrize("reason", ["too_small", "porn", "too_many_words", "face", "personal_data"])
def test_few_photographs_without_people_are_rejected(reason: str) -> None:
    """The upper end of the interval is below one in twenty."""
    assert measured(False).rate(reason).high < 0.05


def test_few_faces_are_missed() -> None:
    found = measured(True)
    assert found.count >= 60
    assert found.rate("face").low > 0.9
