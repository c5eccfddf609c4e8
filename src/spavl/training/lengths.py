"""How many tokens rows and trees have, told without looking at a pixel: pictures of one size take as many."""

from collections.abc import Hashable, Iterable
from typing import Any, Literal

from PIL import Image

from spavl.training.encode import prompt_messages
from spavl.training.tree import Path, grow

Size = tuple[int, int]


class Lengths:
    """Counts for one processor. What it has seen once it remembers."""

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
        return self.spread(size) + len(self._prompt(question)) + max(len(self._answer(answer)) for answer in answers)

    def trees(self, rows: Iterable[tuple[str, Size, str, str]], shares: Literal["picture", "prompt", "nothing"]) -> int:
        """The tokens of these rows, each a picture's name and size, a question and an answer, as trees."""
        groups: dict[Hashable, list[Path]] = {}
        added: dict[Hashable, int] = {}
        for number, (picture, size, question, answer) in enumerate(rows):
            key: Hashable = {"picture": picture, "prompt": (picture, question), "nothing": number}[shares]
            prompt = self._prompt(question)
            groups.setdefault(key, []).append(Path((*prompt, *self._answer(answer)), len(prompt)))
            added[key] = self.spread(size)
        return sum(len(grow(paths).tokens) for paths in groups.values()) + sum(added.values())

    def _prompt(self, question: str) -> list[int]:
        """In it, the picture is still a mark."""
        return self._ids(self._text(question))

    def _answer(self, text: str) -> list[int]:
        tokenizer = self._processor.tokenizer
        return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]

    def _text(self, question: str) -> Any:
        return self._processor.apply_chat_template(prompt_messages(question, None), add_generation_prompt=True)

    def _ids(self, text: str) -> list[int]:
        return list(self._processor.tokenizer(text)["input_ids"])
