"""Answers as models and testers give them, at random: short ones, denials, templates, look-alikes and noise."""

import random
from collections.abc import Iterator

_WORDS = [
    "yes",
    "no",
    "Yes",
    "No",
    "YES",
    "NO",
    "not",
    "nope",
    "yeah",
    "Nope",
    "none",
    "None",
    "zero",
    "one",
    "two",
    "three",
    "ten",
    "eleven",
    "single",
    "0",
    "1",
    "2",
    "3",
    "10",
    "11",
    "know",
    "cannot",
    "isn't",
    "dont",
    "don't",
    "im",
    "I'm",
    "its",
    "a",
    "an",
    "the",
    "A",
    "B",
    "C",
    "D",
    "E",
    "(A)",
    "(B)",
    "B.",
    "B)",
    "[C]",
    "a.",
    "option",
    "Option",
    "choice",
    "answer",
    "Answer:",
    "dog",
    "bus",
    "red",
    "left",
    "right",
    "is",
    "are",
    "there",
    "The",
    "answer",
    "is",
    "B",
    "The",
    "correct",
    "answer",
    "is",
    "it",
    "image",
    "picture",
    "sorry",
    "Sorry",
    "I",
    "can't",
    "OpenAI",
    "unethical",
    "safe",
    "unsafe",
    "Safe",
    "Unsafe",
    "ysafe",
    "yes,",
    "no,",
    "1,000",
    "2.5",
    "3.",
    ".5",
    "U.S.",
    "it's",
    "o'clock",
    "whats",
    "ow's'at",
    "somebodyd",
    "nan",
    "true",
    "###",
    "</s>",
]
_TEMPLATES = (
    "The answer is {0}.",
    "the answer is {0}.",
    "The answer is {0}. The answer is {1}.",
    "The answer is {0}",
    "Answer: {0}",
    "({0})",
    "{0}",
    "{0}.",
    "{0}. {1}",
    "{0}) {1}",
    "{0}, {1}",
    "not a {0}",
    "It is not {0}, but {1}.",
    "Yes, there is {0} {1}.",
    "No. {0}",
    "{0}\n{1}",
    "\n{0}",
    "**{0}**",
    "<image>\nUSER: {0}\nASSISTANT: {1}",
    "I'm sorry, I can't help with {0}.",
    "{0}-{1}/{0}",
    "{0};{1} ({0})",
    "BECAUSE: {0} The answer is {1}. {0}",
    "[RESULT]: {0}",
    "```{0}```",
    '"{0}"',
)
_SEPARATORS = (
    " ",
    "  ",
    "\n",
    "\t",
    ", ",
    ". ",
    ".",
    "-",
    "/",
    "; ",
    " - ",
    "\u00a0",
    "\r\n",
    "_",
    "!",
    "? ",
    ",",
    "'",
)
# Cyrillic and full-width letters and digits of other scripts that look like Latin ones, and characters without a width.
_LOOK_ALIKES = str.maketrans({"a": "а", "o": "о", "e": "е", "B": "В", "A": "Ａ", "1": "１", "2": "٢", " ": "\u2009"})
_SIGNS = "\x00\u200b\u2028\x85é日本🙂<>{}[]()=+\\_-@`,?!;:/\"'.*#|~^&%$\n\t "


def adversarial_answers(number: int, seed: int = 0) -> Iterator[str]:
    draw = random.Random(seed)
    yield from ("", " ", "\n", ".", ",", "'", "no" * 3000, "a " * 3000)
    for _ in range(number - 8):
        yield _answer(draw)


def _answer(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.3:
        most = 1 if draw.random() < 0.6 else 3
        return draw.choice(_TEMPLATES).format(_words(draw, most), _words(draw, most))
    if kind < 0.85:
        return _changed(_words(draw, 12), draw)
    return "".join(draw.choice(_SIGNS) if draw.random() < 0.6 else draw.choice("abyesnoABCD0123") for _ in range(20))


def _words(draw: random.Random, most: int) -> str:
    parts = [draw.choice(_WORDS) for _ in range(draw.randint(1, most))]
    return "".join(part + draw.choice(_SEPARATORS) * (draw.random() < 0.9) for part in parts[:-1]) + parts[-1]


def _changed(text: str, draw: random.Random) -> str:
    kind = draw.randrange(8)
    changed = {0: text.upper(), 1: text.lower(), 2: text.title(), 3: text.translate(_LOOK_ALIKES), 4: f" {text}\n"}
    return changed.get(kind, text)
