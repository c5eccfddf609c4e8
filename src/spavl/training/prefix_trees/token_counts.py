"""How many tokens rows and trees have, told without looking at a pixel: images of one size take as many."""

from collections.abc import Hashable, Iterable
from functools import cached_property
from typing import Any, Literal, NamedTuple

from PIL import Image

from spavl.models.chat_template import TemplateTurn, as_written, tokens_of, turn_of
from spavl.training.prefix_trees.tokenize import prompt_text, row_of
from spavl.training.prefix_trees.tree import TokenPath, grow

Size = tuple[int, int]
# Small and large, wide and high: on these a processor's own count is tried.
_SHAPES = ((64, 64), (336, 336), (300, 200), (250, 900), (1400, 500), (1200, 1600))


class CountedRow(NamedTuple):
    """A row by what its length hangs on."""

    image: str
    size: Size
    question: str
    answer: str | tuple[int, ...]


class TokenCount(NamedTuple):
    """Tokens, and passes of the vision tower: of trees, and of the same rows each by itself."""

    tokens: int
    images: int
    plain_tokens: int
    plain_images: int


class TokenCounter:
    """Counts for one processor. What an image's size gives it remembers."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._spread: dict[Size, int] = {}

    def spread(self, size: Size) -> int:
        """How many more tokens a prompt has once its image's mark has become an image of this size."""
        if size not in self._spread:
            lacks = self._own_count_lacks
            self._spread[size] = self._made(size) if lacks is None else self._told(size) + lacks
        return self._spread[size]

    def longest(self, size: Size, question: str, answers: Iterable[str], drawn: int = 0) -> int:
        """The longest row of one question, to which an answer of so many tokens may be drawn too."""
        rows = [self.row(question, answer) for answer in answers]
        return self.spread(size) + max(rows[0].answer + drawn, *(len(row.tokens) for row in rows))

    def row(self, question: str, answer: str | tuple[int, ...]) -> TokenPath:
        """A question and an answer as tokens. In them, the image is still a mark."""
        return row_of(self._processor.tokenizer, self._turn, prompt_text(self._processor, question, None), answer)

    def count(self, rows: Iterable[CountedRow], shares: Literal["picture", "prompt", "nothing"]) -> TokenCount:
        groups: dict[Hashable, list[TokenPath]] = {}
        spread: dict[Hashable, int] = {}
        for number, row in enumerate(rows):
            key: Hashable = {"picture": row.image, "prompt": (row.image, row.question), "nothing": number}[shares]
            groups.setdefault(key, []).append(self.row(row.question, row.answer))
            spread[key] = self.spread(row.size)
        plain = sum(len(path.tokens) + spread[key] for key, paths in groups.items() for path in paths)
        trees = sum(len(grow(paths).tokens) + spread[key] for key, paths in groups.items())
        return TokenCount(trees, len(groups), plain, sum(map(len, groups.values())))

    @cached_property
    def _own_count_lacks(self) -> int | None:
        """What a processor's own count leaves out, if that is the same for all shapes; else it is not believed."""
        try:
            lacks = {self._made(size) - self._told(size) for size in _SHAPES}
        except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError):
            return None
        return lacks.pop() if len(lacks) == 1 else None

    @cached_property
    def _turn(self) -> TemplateTurn:
        return turn_of(self._processor)

    def _made(self, size: Size) -> int:
        """By making one."""
        text, even = prompt_text(self._processor, "?", None), Image.new("RGB", size)
        tokenizer = self._processor.tokenizer
        made = self._processor(images=[even], text=[text], **as_written(tokenizer, text))
        return len(made["input_ids"][0]) - len(tokens_of(tokenizer, text))

    def _told(self, size: Size) -> int:
        """By asking. transformers counts for servers so, and many times faster."""
        width, height = size
        told = self._processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
        return int(told["num_image_tokens"][0])
