"""Tokenizes questions, images and answers to rows, and lays out rows with common prefixes as a tree.

Three questions about one image with two answers each are six rows that all begin with the
image's several hundred tokens. As a trie they are one short sequence:

    system image ┬ question ┬ answer          flat: system image question answer answer question …
                   │          └ answer          depth:   0 …                12     12
                   └ question ┬ …

Each token sees only its ancestors and has its depth as its position, as it would in its own
row, so a model gives it the same log-probability and the same gradient (up to rounding).
Each image is processed once. Counting reads no pixels: images of one size have the same number of tokens.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from spavl.errors import TrainingError
from spavl.models.chat_template import TemplateTurn, answer_tokens, as_written, prompt_of, shown_by, tokens_of, turn_of


class TokenPath(NamedTuple):
    """One row: its tokens, and the place where the answer begins."""

    tokens: tuple[int, ...]
    answer: int
    # The last token to score, if the model gets another one as input in its place.
    last: int | None = None

    def tokens_to_predict(self) -> tuple[int, ...]:
        """The tokens of the answer that the model has to predict."""
        answer = self.tokens[self.answer :]
        return answer if self.last is None else (*answer[:-1], self.last)


class PrefixTree(NamedTuple):
    """Rows laid out flat, parents before children; a segment is a run of tokens without a fork."""

    tokens: list[int]
    depths: list[int]
    segments: list[int]
    # ancestors[s] holds the segments that a token of segment s sees: those above it, and its own.
    ancestors: list[frozenset[int]]
    # The places of the tokens of each row.
    places: list[list[int]]


def grow(paths: Sequence[TokenPath]) -> PrefixTree:
    """The tree of these rows."""
    tokens: list[int] = []
    parents: list[int] = []
    child: dict[tuple[int, int], int] = {}
    places: list[list[int]] = []
    for path in paths:
        place, walked = -1, []
        for token in path.tokens:
            step = (place, token)
            if step not in child:
                child[step] = len(tokens)
                tokens.append(token)
                parents.append(place)
            place = child[step]
            walked.append(place)
        places.append(walked)
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent] + 1 if parent >= 0 else 0)
    return PrefixTree(tokens, depths, *_segments(parents), places)


def _segments(parents: Sequence[int]) -> tuple[list[int], list[frozenset[int]]]:
    """A token begins a new segment unless it is the only child of the token before it."""
    children = np.bincount(np.array(parents) + 1, minlength=len(parents) + 1)
    segments: list[int] = []
    ancestors: list[frozenset[int]] = []
    for place, parent in enumerate(parents):
        goes_on = parent >= 0 and parent == place - 1 and children[parent + 1] == 1
        if not goes_on:
            above = ancestors[segments[parent]] if parent >= 0 else frozenset()
            ancestors.append(above | {len(ancestors)})
        segments.append(segments[parent] if goes_on else len(ancestors) - 1)
    return segments, ancestors


def visible(tree: PrefixTree) -> NDArray[np.bool_]:
    """[query, key]: which tokens a token sees."""
    sees = np.zeros((len(tree.ancestors), len(tree.ancestors)), dtype=np.bool_)
    for segment, above in enumerate(tree.ancestors):
        sees[segment, list(above)] = True
    of = np.array(tree.segments)
    return np.tril(sees[np.ix_(of, of)])


# Outputs of processors per token, besides `input_ids`. They are extended for an answer: its tokens are marked with 0,
# and see images as the last token of the prompt does.
_MARKS = ("token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids", "image_embeds_position_mask")
_LOOKS = ("cross_attention_mask", "image_attention_mask")


class ScoredRow(NamedTuple):
    """A question about an image, and an answer to score. Rows with one `image_id` show one image.

    An answer is a text, or the tokens that a model sampled.
    """

    image_id: str
    image: Image.Image
    question: str
    answer: str | tuple[int, ...]
    system: str | None = None


class ImageGroup(NamedTuple):
    """Rows that share the pass of an image, by their numbers."""

    numbers: list[int]
    paths: list[TokenPath]


class EncodedRows(NamedTuple):
    groups: list[ImageGroup]
    # The image inputs of the model, one image a group, in the order of the groups.
    images: dict[str, Tensor]
    # The processor's marks of the tokens of each group's first prompt, and the mark of answer tokens.
    marks: Sequence[Mapping[str, tuple[Tensor, Tensor]]]


def prompt_messages(question: str, system: str | None) -> list[dict[str, Any]]:
    """The chat before an answer; the image comes first, as in LLaVA."""
    asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    if system is None:
        return [asked]
    return [{"role": "system", "content": [{"type": "text", "text": system}]}, asked]


def encode(processor: Any, rows: Sequence[ScoredRow], shares: Literal["image", "prompt", "nothing"]) -> EncodedRows:
    """Tokenize rows. An answer ends with the end token of the model's turn, so that stopping is trained too."""
    if empty := next((row for row in rows if _is_empty(row.answer)), None):
        raise TrainingError("an answer is empty", where=repr(empty.question), then="drop such rows from the data set")
    members: dict[Hashable, list[int]] = {}
    for number, row in enumerate(rows):
        prompt = (row.image_id, row.system, row.question)
        key: Hashable = {"image": prompt[:2], "prompt": prompt, "nothing": number}[shares]
        members.setdefault(key, []).append(number)
    texts = [prompt_text(processor, row.question, row.system) for row in rows]
    first = [numbers[0] for numbers in members.values()]
    processor.tokenizer.padding_side = "right"
    images, asked = [[rows[k].image] for k in first], [texts[k] for k in first]
    written = as_written(processor.tokenizer, asked[0])
    shown = shown_by(processor, images=images, text=asked, padding=True, **written)
    filled = shown.pop("attention_mask").bool()
    full = [ids[mask].tolist() for ids, mask in zip(shown.pop("input_ids"), filled, strict=True)]
    per_token = {name: shown.pop(name) for name in (*_MARKS, *_LOOKS) if name in shown}
    marks = [
        {name: _prompt_and_answer_marks(name, each[k][filled[k]]) for name, each in per_token.items()}
        for k in range(len(first))
    ]
    turn = turn_of(processor)
    bare = [row_of(processor.tokenizer, turn, text, row.answer) for text, row in zip(texts, rows, strict=True)]
    groups = [
        ImageGroup(numbers, _spread([bare[number] for number in numbers], prompt, texts[numbers[0]]))
        for numbers, prompt in zip(members.values(), full, strict=True)
    ]
    return EncodedRows(groups, shown, marks)


def _prompt_and_answer_marks(name: str, of_prompt: Tensor) -> tuple[Tensor, Tensor]:
    return of_prompt, of_prompt[-1] if name in _LOOKS else torch.zeros_like(of_prompt[-1])


def prompt_text(processor: Any, question: str, system: str | None) -> str:
    return prompt_of(processor, prompt_messages(question, system))


def row_of(tokenizer: Any, turn: TemplateTurn, text: str, answer: str | tuple[int, ...]) -> TokenPath:
    """A prompt, in which the image is still one placeholder, and its answer."""
    prompt = tokens_of(tokenizer, text)
    spoken = answer if isinstance(answer, tuple) else answer_tokens(tokenizer, turn, text, prompt, answer)
    return TokenPath((*prompt, *spoken), len(prompt))


def _spread(bare: Sequence[TokenPath], first: list[int], text: str) -> list[TokenPath]:
    """The rows of a group. `first` is its first prompt, in which the placeholder is replaced by the image's tokens."""
    same = _shared_end(bare[0].tokens[: bare[0].answer], first)
    head, spread = bare[0].tokens[: bare[0].answer - same], tuple(first[: len(first) - same])
    if any(row.tokens[: len(head)] != head for row in bare):
        then = "put the image before the question in the chat template, or set training.share_prefixes = false"
        what = "the chat template puts question text before the image, so prompts cannot share an image prefix"
        raise TrainingError(what, where=repr(text), then=then)
    more = len(spread) - len(head)
    return [TokenPath(spread + row.tokens[len(head) :], row.answer + more) for row in bare]


def _is_empty(answer: str | tuple[int, ...]) -> bool:
    return not (answer.strip() if isinstance(answer, str) else answer)


def _shared_end(bare: Sequence[int], spread: Sequence[int]) -> int:
    """The number of equal tokens at the end of both, after the image's placeholder."""
    begin = 0
    while begin < len(bare) and bare[begin] == spread[begin]:
        begin += 1
    end = 0
    while end < len(bare) - begin and bare[-1 - end] == spread[-1 - end]:
        end += 1
    return end


Size = tuple[int, int]
# Sizes on which the processor's own count of image tokens is checked.
_SHAPES = ((64, 64), (336, 336), (300, 200), (250, 900), (1400, 500), (1200, 1600))


class CountedRow(NamedTuple):
    """The parts of a row that its length depends on."""

    image: str
    size: Size
    question: str
    answer: str | tuple[int, ...]


class TokenCount(NamedTuple):
    """The tokens and the vision passes of trees, and of the same rows without sharing."""

    tokens: int
    images: int
    plain_tokens: int
    plain_images: int


class TokenCounter:
    """Counts tokens for one processor, and remembers the count of each image size."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._spread: dict[Size, int] = {}

    def spread(self, size: Size) -> int:
        """The number of tokens that replacing the placeholder by an image of this size adds to a prompt."""
        if size not in self._spread:
            lacks = self._own_count_lacks
            self._spread[size] = self._added_tokens(size) if lacks is None else self._processors_own_count(size) + lacks
        return self._spread[size]

    def longest(self, size: Size, question: str, answers: Iterable[str], sampled: int = 0) -> int:
        """The length of the longest row of a question, which may also get an answer of `sampled` tokens."""
        rows = [self.row(question, answer) for answer in answers]
        return self.spread(size) + max(rows[0].answer + sampled, *(len(row.tokens) for row in rows))

    def row(self, question: str, answer: str | tuple[int, ...]) -> TokenPath:
        """A question and an answer as tokens. In them, the image is still one placeholder."""
        return row_of(self._processor.tokenizer, self._turn, prompt_text(self._processor, question, None), answer)

    def count(self, rows: Iterable[CountedRow], shares: Literal["image", "prompt", "nothing"]) -> TokenCount:
        groups: dict[Hashable, list[TokenPath]] = {}
        spread: dict[Hashable, int] = {}
        for number, row in enumerate(rows):
            key: Hashable = {"image": row.image, "prompt": (row.image, row.question), "nothing": number}[shares]
            groups.setdefault(key, []).append(self.row(row.question, row.answer))
            spread[key] = self.spread(row.size)
        plain = sum(len(path.tokens) + spread[key] for key, paths in groups.items() for path in paths)
        trees = sum(len(grow(paths).tokens) + spread[key] for key, paths in groups.items())
        return TokenCount(trees, len(groups), plain, sum(map(len, groups.values())))

    @cached_property
    def _own_count_lacks(self) -> int | None:
        """The tokens that the processor's own count misses; None if they differ by size: then it is not used."""
        try:
            lacks = {self._added_tokens(size) - self._processors_own_count(size) for size in _SHAPES}
        except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError):
            return None
        return lacks.pop() if len(lacks) == 1 else None

    @cached_property
    def _turn(self) -> TemplateTurn:
        return turn_of(self._processor)

    def _added_tokens(self, size: Size) -> int:
        """The number of added tokens, counted on a processed image."""
        text, even = prompt_text(self._processor, "?", None), Image.new("RGB", size)
        tokenizer = self._processor.tokenizer
        made = self._processor(images=[even], text=[text], **as_written(tokenizer, text))
        return len(made["input_ids"][0]) - len(tokens_of(tokenizer, text))

    def _processors_own_count(self, size: Size) -> int:
        """The number of image tokens by the processor's own count, which is many times faster."""
        width, height = size
        counts = self._processor._get_num_multimodal_tokens(image_sizes=[(height, width)])
        return int(counts["num_image_tokens"][0])
