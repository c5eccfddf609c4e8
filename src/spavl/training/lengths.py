"""How many tokens rows and trees have, told without looking at a pixel: pictures of one size take as many."""

from collections.abc import Hashable, Iterable
from typing import Any, Literal, NamedTuple

from PIL import Image

from spavl.training.encode import answer_tokens, prompt_messages
from spavl.training.tree import Path, grow

Size = tuple[int, int]


class Shown(NamedTuple):
    """A row by what its length hangs on."""

    picture: str
    size: Size
    question: str
    answer: str | tuple[int, ...]


class Count(NamedTuple):
    """Tokens, and passes of the vision tower: of trees, and of the same rows each by itself."""

    tokens: int
    pictures: int
    plain_tokens: int
    plain_pictures: int


class Lengths:
    """Counts for one processor. What a picture's size gives it remembers."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._spread: dict[Size, int] = {}

    def spread(self, size: Size) -> int:
        """How many more tokens a prompt has once its picture's mark has become a picture of this size."""
        if size not in self._spread:
            text, even = self._text("?"), Image.new("RGB", size)
            shown = self._processor(images=[even], text=[text])["input_ids"][0]
            self._spread[size] = len(shown) - len(self._ids(text))
        return self._spread[size]

    def longest(self, size: Size, question: str, answers: Iterable[str]) -> int:
        """The longest row of one question."""
        longest = max(len(answer_tokens(self._processor.tokenizer, answer)) for answer in answers)
        return self.spread(size) + len(self._prompt(question)) + longest

    def count(self, rows: Iterable[Shown], shares: Literal["picture", "prompt", "nothing"]) -> Count:
        groups: dict[Hashable, list[Path]] = {}
        spread: dict[Hashable, int] = {}
        for number, row in enumerate(rows):
            prompt = self._prompt(row.question)
            key: Hashable = {"picture": row.picture, "prompt": (row.picture, row.question), "nothing": number}[shares]
            answer = answer_tokens(self._processor.tokenizer, row.answer)
            groups.setdefault(key, []).append(Path((*prompt, *answer), len(prompt)))
            spread[key] = self.spread(row.size)
        plain = sum(len(path.tokens) + spread[key] for key, paths in groups.items() for path in paths)
        trees = sum(len(grow(paths).tokens) + spread[key] for key, paths in groups.items())
        return Count(trees, len(groups), plain, sum(map(len, groups.values())))

    def _prompt(self, question: str) -> list[int]:
        """In it, the picture is still a mark."""
        return self._ids(self._text(question))

    def _text(self, question: str) -> Any:
        return self._processor.apply_chat_template(prompt_messages(question, None), add_generation_prompt=True)

    def _ids(self, text: str) -> list[int]:
        return list(self._processor.tokenizer(text)["input_ids"])
