"""Checks the samples before a training starts: some would break it, or train what is not meant.

A sample is left out whole, with a reason. It is never repaired or truncated: a part of an image's tokens is no image.
"""

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from PIL import Image

from spavl.errors import GateError, StoreError
from spavl.models.chat_template import marks_of
from spavl.records import Reject, Sample
from spavl.stages.context import reject
from spavl.terminal.progress import Screen
from spavl.training.prefix_trees.tokenize import Size, TokenCounter


class CheckedSamples(NamedTuple):
    """The samples that can be trained on, the sizes of their images, and those that cannot, with the reason."""

    samples: list[Sample]
    sizes: dict[str, Size]
    rejects: list[Reject]

    @property
    def reasons(self) -> dict[str, int]:
        return dict(sorted(Counter(each.reason for each in self.rejects).items()))

    def too_many(self, most: float) -> bool:
        return len(self.rejects) > most * (len(self.samples) + len(self.rejects))

    def in_words(self) -> str:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in self.reasons.items())
        total = len(self.samples) + len(self.rejects)
        return f"{len(self.rejects):,} of {total:,} samples cannot be trained on: {reasons}"


class _SampleFault(Exception):
    """Why a sample is left out: the reason and its detail."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def check(
    model: Any,
    processor: Any,
    samples: Sequence[Sample],
    image: Callable[[str], bytes],
    screen: Screen,
    max_sampled_tokens: int = 0,
) -> CheckedSamples:
    """Check every sample with this model, which may sample answers of so many tokens to it."""
    images = _ImageSizes(image, TokenCounter(processor))
    special, most = _special_tokens(processor), _context_length(model)
    checked = CheckedSamples([], images.sizes, [])
    with screen.bar("checks", len(samples), unit="pairs") as bar:
        for sample in samples:
            try:
                _check_texts(sample, special)
                _check_length(sample, images, most, max_sampled_tokens)
            except _SampleFault as fault:
                checked.rejects.append(reject(sample, fault.reason, fault.detail))
            else:
                checked.samples.append(sample)
            bar.advance()
    return checked


def stop_if_too_many(checked: CheckedSamples, most: float, where: str) -> None:
    """A model trained on the rest of a broken data set would not be a result about that data set."""
    if checked.too_many(most):
        then = (
            f"read the reasons in {where} and correct the data set; or raise training.max_invalid_fraction ({most:g})"
        )
        raise GateError(checked.in_words(), where=where, then=then)


class _ImageSizes:
    """Each image is decoded once: a file may be damaged in its last line only."""

    def __init__(self, get: Callable[[str], bytes], lengths: TokenCounter) -> None:
        self._get, self.lengths = get, lengths
        self.sizes: dict[str, Size] = {}
        self._faults: dict[str, _SampleFault] = {}

    def size(self, blob: str) -> Size:
        if blob not in self.sizes and blob not in self._faults:
            try:
                self.sizes[blob] = self._measure(blob)
            except _SampleFault as fault:
                self._faults[blob] = fault
        if blob in self._faults:
            raise self._faults[blob]
        return self.sizes[blob]

    def _measure(self, blob: str) -> Size:
        try:
            data = self._get(blob)
        except StoreError as error:
            raise _SampleFault("picture_missing", error.what) from None
        try:
            size = Image.open(io.BytesIO(data)).convert("RGB").size
        except Exception as error:  # a decoder fed with broken bytes may raise anything
            raise _SampleFault("picture_undecodable", f"{blob[:12]}: {error}") from None
        try:
            self.lengths.spread(size)
        except ValueError as error:
            raise _SampleFault("picture_refused", f"{size[0]} x {size[1]}: {error}") from None
        return size


def _check_texts(sample: Sample, special: re.Pattern[str]) -> None:
    for name in ("question", "chosen", "rejected"):
        text = getattr(sample, name)
        if not text.strip():
            raise _SampleFault(f"empty_{'question' if name == 'question' else 'answer'}", name)
        if found := special.search(text):
            # It would be tokenized as the model's own token, of an image that is not there or of an end.
            raise _SampleFault("special_token", f"{found[0]} in its {name}")
    if sample.chosen.split() == sample.rejected.split():
        raise _SampleFault("same_answers")


def _check_length(sample: Sample, images: _ImageSizes, most: int | None, max_sampled_tokens: int) -> None:
    size = images.size(sample.blob)
    longest = images.lengths.longest(size, sample.question, (sample.chosen, sample.rejected), max_sampled_tokens)
    if most is not None and longest > most:
        sampled = f", with {max_sampled_tokens} for a sampled answer" if max_sampled_tokens else ""
        raise _SampleFault("too_long", f"{longest} tokens{sampled}; the model takes {most}")


def _special_tokens(processor: Any) -> re.Pattern[str]:
    marks = [getattr(processor, name, None) for name in ("image_token", "video_token", "boi_token", "eoi_token")]
    tokens = marks_of(processor) | {mark for mark in marks if isinstance(mark, str) and mark}
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)))


def _context_length(model: Any) -> int | None:
    """The context length of the model."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)
