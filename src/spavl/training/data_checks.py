"""What is looked at before a training starts: samples that would break it, or teach what nobody meant.

A sample is left out whole, with a reason, and never mended or cut: half an image's tokens are no image.
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

    def told(self) -> str:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in self.reasons.items())
        total = len(self.samples) + len(self.rejects)
        return f"{len(self.rejects):,} of {total:,} samples cannot be trained on: {reasons}"


class _SampleFault(Exception):
    """Why a sample is left out: the reason, and what it hangs on."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def check(
    model: Any,
    processor: Any,
    samples: Sequence[Sample],
    image: Callable[[str], bytes],
    screen: Screen,
    drawn: int = 0,
) -> CheckedSamples:
    """Look at every sample as this model would be shown it, and may draw answers of so many tokens to."""
    images = _ImageSizes(image, TokenCounter(processor))
    special, most = _special_tokens(processor), _longest(model)
    checked = CheckedSamples([], images.sizes, [])
    with screen.bar("checks", len(samples), unit="pairs") as bar:
        for sample in samples:
            try:
                _check_texts(sample, special)
                _check_length(sample, images, most, drawn)
            except _SampleFault as fault:
                checked.rejects.append(reject(sample, fault.reason, fault.detail))
            else:
                checked.samples.append(sample)
            bar.advance()
    return checked


def stop_if_too_many(checked: CheckedSamples, most: float, where: str) -> None:
    """A training on what is left of a broken data set would tell nothing of that data set."""
    if checked.too_many(most):
        then = (
            f"look at them in {where} and mend the data set; or raise training.max_invalid_fraction, which is {most:g}"
        )
        raise GateError(checked.told(), where=where, then=then)


class _ImageSizes:
    """Each image is decoded once, for a file may look whole until its last line is read."""

    def __init__(self, get: Callable[[str], bytes], lengths: TokenCounter) -> None:
        self._get, self.lengths = get, lengths
        self.sizes: dict[str, Size] = {}
        self._faults: dict[str, _SampleFault] = {}

    def size(self, blob: str) -> Size:
        if blob not in self.sizes and blob not in self._faults:
            try:
                self.sizes[blob] = self._look(blob)
            except _SampleFault as fault:
                self._faults[blob] = fault
        if blob in self._faults:
            raise self._faults[blob]
        return self.sizes[blob]

    def _look(self, blob: str) -> Size:
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
            # It would be read as the model's own mark: of an image that is not there, or of an end.
            raise _SampleFault("special_token", f"{found[0]} in its {name}")
    if sample.chosen.split() == sample.rejected.split():
        raise _SampleFault("same_answers")


def _check_length(sample: Sample, images: _ImageSizes, most: int | None, drawn: int) -> None:
    size = images.size(sample.blob)
    longest = images.lengths.longest(size, sample.question, (sample.chosen, sample.rejected), drawn)
    if most is not None and longest > most:
        spoken = f", {drawn} of them left for an answer it draws" if drawn else ""
        raise _SampleFault("too_long", f"{longest} tokens{spoken}, and the model reads {most}")


def _special_tokens(processor: Any) -> re.Pattern[str]:
    marks = [getattr(processor, name, None) for name in ("image_token", "video_token", "boi_token", "eoi_token")]
    tokens = marks_of(processor) | {mark for mark in marks if isinstance(mark, str) and mark}
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True)))


def _longest(model: Any) -> int | None:
    """How many tokens the model was made for."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)
