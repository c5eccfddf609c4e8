"""What a shortcut could read of an answer or of an image, as rows of numbers."""

import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from PIL import Image as Pillow

from spavl.judges.refusal_regex import seems_refused
from spavl.studies.bias.logistic import Matrix
from spavl.text.similarity import count_words, words_of

# How many columns the hashed words share.
_OPENING_COLUMNS, _WORD_COLUMNS = 256, 512
# A first word tells "no" from "yes"; three words tell most refusals.
_OPENING_WORDS = 3
_SIDE = 4


def length_features(answers: Sequence[str]) -> Matrix:
    """The logarithms of the numbers of words and of characters."""
    return np.array([[np.log1p(count_words(each)), np.log1p(len(each))] for each in answers], dtype=np.float32)


def refusal_features(answers: Sequence[str]) -> Matrix:
    return np.array([[seems_refused(each)] for each in answers], dtype=np.float32)


def opening_features(answers: Sequence[str]) -> Matrix:
    """The first word, the first two and the first three, each hashed to a column."""
    return _hash_words((_openings(each) for each in answers), len(answers), _OPENING_COLUMNS)


def word_features(answers: Sequence[str]) -> Matrix:
    """The words of the whole answer in no order, hashed to columns. A row has length 1, whatever the answer's."""
    return _hash_words((words_of(each) for each in answers), len(answers), _WORD_COLUMNS)


def name_features(names: Sequence[str]) -> Matrix:
    """A column for each name."""
    columns = {name: place for place, name in enumerate(sorted(set(names)))}
    found = np.zeros((len(names), len(columns)), dtype=np.float32)
    found[range(len(names)), [columns[name] for name in names]] = 1
    return found


def image_features(blobs: Sequence[str], read: Callable[[str], bytes]) -> Matrix:
    """The colours of a thumbnail, their means and spreads, and the shape of each image; images repeat in `blobs`."""
    known = {blob: _colours(read(blob)) for blob in dict.fromkeys(blobs)}
    found = np.array([known[blob] for blob in blobs], dtype=np.float32)
    spread = found.std(axis=0)
    return np.asarray((found - found.mean(axis=0)) / np.where(spread > 0, spread, 1), dtype=np.float32)


def first_word(answer: str) -> str:
    return next(iter(_openings(answer)), "")


def _openings(answer: str) -> list[str]:
    # The start is enough, and answers may be long.
    words = words_of(answer[:200])[:_OPENING_WORDS]
    return [" ".join(words[: place + 1]) for place in range(len(words))]


def _hash_words(rows: Iterable[Iterable[str]], number: int, columns: int) -> Matrix:
    """Rows of length 1. A word's column and sign are from its CRC, so they are the same in every process."""
    found = np.zeros((number, columns), dtype=np.float32)
    for place, words in enumerate(rows):
        for word, times in Counter(words).items():
            code = zlib.crc32(word.encode())
            found[place, code % columns] += (1 if code >> 31 else -1) * np.log1p(times)
    sizes = np.sqrt((found**2).sum(axis=1, keepdims=True))
    return np.asarray(found / np.where(sizes > 0, sizes, 1), dtype=np.float32)


def _colours(data: bytes) -> list[float]:
    with Pillow.open(io.BytesIO(data)) as image:
        width, height = image.size
        image.draft("RGB", (16 * _SIDE, 16 * _SIDE))
        small = np.asarray(image.convert("RGB").resize((16, 16), Pillow.Resampling.BOX), dtype=np.float32) / 255
    tiles = small.reshape(_SIDE, 16 // _SIDE, _SIDE, 16 // _SIDE, 3).mean(axis=(1, 3))
    means, spreads = small.mean(axis=(0, 1)), small.std(axis=(0, 1))
    return [*tiles.ravel(), *means, *spreads, float(np.log(width / height)), float(np.log(width * height))]
