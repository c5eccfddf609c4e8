"""The tensors of one forward pass: trees packed into rows, and the places of their answers."""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spavl.training.model.anatomy import image_tokens_of
from spavl.training.prefix_trees.attention import Forks, Mask, MaskInputs, ModelFamily, PlainRows, family_of, forks_of
from spavl.training.prefix_trees.tree import ImageGroup, PrefixTree, ScoredRow, TokenPath, encode, grow, visible


class TreeBatch(NamedTuple):
    """The inputs of the model, and the places of the answers in them."""

    inputs: dict[str, Any]
    # The (row, place) of each answer token's *predecessor*, the token to predict there, and its answer.
    row_T: Tensor
    place_T: Tensor
    token_T: Tensor
    answer_T: Tensor
    # The (row, place) of the last token of each answer.
    end_row_B: Tensor
    end_place_B: Tensor
    answers: int
    # The tokens that the model processes, without padding.
    tokens: int
    # The segments of the attention; None if the model gets a mask.
    forks: Forks | None = None

    @property
    def is_of_trees(self) -> bool:
        """Whether rows are trees; plain rows have the usual mask with two axes."""
        mask = self.inputs["attention_mask"]
        return isinstance(mask, dict) or mask.dim() == 4


class PlacedTree(NamedTuple):
    """A tree and where it lies in the batch."""

    group: ImageGroup
    tree: PrefixTree
    row: int
    start: int

    def read_at(self) -> Iterator[int]:
        """The places at which scores and rewards are read: those of answers, and the place before each answer."""
        for path, places in zip(self.group.paths, self.tree.places, strict=True):
            yield from places[path.answer - 1 :]


def make_batch(model: Any, processor: Any, rows: Sequence[ScoredRow], share: bool = True) -> TreeBatch:
    """Rows as trees, one for each image if the model's family allows it; `share=False`: as plain rows."""
    family = family_of(model) if share else family_of(model)._replace(shares="nothing", why="asked for")
    groups, images, marks = encode(processor, rows, family.shares)
    groups = [group._replace(paths=_without_last_marks(group.paths, image_tokens_of(model))) for group in groups]
    if family.shares == "nothing":
        return lay_out_plain(groups, images, marks, family.answer_marks)
    return lay_out(model, family, groups, images)


def _without_last_marks(paths: Sequence[TokenPath], marks: Container[int]) -> list[TokenPath]:
    """A policy's answer ends at a sampled image token: that token is scored, and another one is the input there.

    The model would look for an image there. No later token depends on the last token of an answer.
    """
    return [
        path._replace(tokens=(*path.tokens[:-1], path.tokens[path.answer - 1]), last=path.tokens[-1])
        if path.tokens[-1] in marks
        else path
        for path in paths
    ]


def lay_out(model: Any, family: ModelFamily, groups: Sequence[ImageGroup], images: Mapping[str, Tensor]) -> TreeBatch:
    """The trees of groups: in a single row if attention is by segments, else in rows as long as the longest tree."""
    grown = [(group, grow(group.paths)) for group in groups]
    lengths = [len(tree.tokens) for _, tree in grown]
    trees = _beside_each_other(grown, room=sum(lengths) if family.mask is None else max(lengths))
    shape = (trees[-1].row + 1, max(laid.start + len(laid.tree.tokens) for laid in trees))
    ids_BT, depth_BT = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for _, tree, row, start in trees:
        here = slice(start, start + len(tree.tokens))
        ids_BT[row, here], depth_BT[row, here] = torch.tensor(tree.tokens), torch.tensor(tree.depths)
    if family.mask is None:
        # Models pass on a mask of four axes. Attention by segments ignores it; any other attention would see nothing.
        mask: Mask = torch.zeros(1, 1, 1, 1, dtype=torch.bool)
        forks = forks_of((laid.tree, laid.read_at()) for laid in trees)
    else:
        mask, forks = family.mask(model, _mask_inputs(model, trees, ids_BT, depth_BT)), None
    positions = depth_BT + family.first
    if family.row_positions is not None:
        positions = _positions_by_row(family.row_positions(model, _rows(groups, images)), trees, shape)
    inputs = {"input_ids": ids_BT, "attention_mask": mask, "position_ids": positions, **images}
    return _batch_of_trees(inputs, trees, forks)


def _mask_inputs(model: Any, trees: Sequence[PlacedTree], ids_BT: Tensor, depth_BT: Tensor) -> MaskInputs:
    prompt_BT = torch.zeros(ids_BT.shape, dtype=torch.bool)
    # A padding place sees itself: a softmax over nothing is not a number.
    visible_BTT = torch.eye(ids_BT.shape[1], dtype=torch.bool).repeat(len(ids_BT), 1, 1)
    for group, tree, row, start in trees:
        here = slice(start, start + len(tree.tokens))
        visible_BTT[row, here, here] = torch.from_numpy(visible(tree))
        for path, places in zip(group.paths, tree.places, strict=True):
            prompt_BT[row, [start + place for place in places[: path.answer]]] = True
    return MaskInputs(visible_BTT, depth_BT, ids_BT == model.config.image_token_id, prompt_BT)


def _beside_each_other(grown: Sequence[tuple[ImageGroup, PrefixTree]], room: int) -> list[PlacedTree]:
    """The trees packed into rows, in the order of the groups, which is that of their images."""
    laid: list[PlacedTree] = []
    row = start = 0
    for group, tree in grown:
        if start + len(tree.tokens) > room:
            row, start = row + 1, 0
        laid.append(PlacedTree(group, tree, row, start))
        start += len(tree.tokens)
    return laid


def _rows(groups: Sequence[ImageGroup], images: Mapping[str, Tensor]) -> PlainRows:
    paths = [(path, number) for number, group in enumerate(groups) for path in group.paths]
    shape = (len(paths), max(len(path.tokens) for path, _ in paths))
    ids_RT, filled_RT = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, (path, _) in enumerate(paths):
        ids_RT[row, : len(path.tokens)], filled_RT[row, : len(path.tokens)] = torch.tensor(path.tokens), 1
    return PlainRows(ids_RT, filled_RT, images, [number for _, number in paths])


def _positions_by_row(positions_ART: Tensor, trees: Sequence[PlacedTree], shape: tuple[int, int]) -> Tensor:
    """The positions of plain rows, moved to the places of the tree; rows that share a token agree on its position."""
    positions_ABT = torch.zeros((len(positions_ART), *shape), dtype=torch.long)
    number = 0
    for _, tree, row, start in trees:
        for places in tree.places:
            positions_ABT[:, row, [start + place for place in places]] = positions_ART[:, number, : len(places)]
            number += 1
    return positions_ABT


def lay_out_plain(
    groups: Sequence[ImageGroup],
    images: Mapping[str, Tensor],
    marks: Sequence[Mapping[str, tuple[Tensor, Tensor]]],
    answer_marks: Mapping[str, int],
) -> TreeBatch:
    """Each row by itself, padded on the right."""
    trees = [PlacedTree(group, grow(group.paths), row, 0) for row, group in enumerate(groups)]
    shape = (len(trees), max(len(laid.tree.tokens) for laid in trees))
    inputs = {name: torch.zeros(shape, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    inputs |= {name: last.new_zeros(*shape, *last.shape) for name, (_, last) in marks[0].items()}
    for (_, tree, row, _), marked in zip(trees, marks, strict=True):
        inputs["input_ids"][row, : len(tree.tokens)] = torch.tensor(tree.tokens)
        inputs["attention_mask"][row, : len(tree.tokens)] = 1
        for name, (of_prompt, of_answer) in marked.items():
            inputs[name][row, : len(of_prompt)] = of_prompt
            inputs[name][row, len(of_prompt) : len(tree.tokens)] = answer_marks.get(name, of_answer)
    return _batch_of_trees({**inputs, **images}, trees)


def _batch_of_trees(inputs: dict[str, Any], trees: Sequence[PlacedTree], forks: Forks | None = None) -> TreeBatch:
    """The first token of an answer is predicted at the last token of its prompt, wherever that is in the tree."""
    spans = [
        (number, laid.row, laid.start + before, token)
        for laid in trees
        for number, path, places in zip(laid.group.numbers, laid.group.paths, laid.tree.places, strict=True)
        for token, before in zip(path.tokens_to_predict(), places[path.answer - 1 : -1], strict=True)
    ]
    answer_T, row_T, place_T, token_T = (torch.tensor(column) for column in zip(*spans, strict=True))
    ends = sorted(
        (number, laid.row, laid.start + places[-1])
        for laid in trees
        for number, places in zip(laid.group.numbers, laid.tree.places, strict=True)
    )
    _, end_row_B, end_place_B = (torch.tensor(column) for column in zip(*ends, strict=True))
    tokens = sum(len(laid.tree.tokens) for laid in trees)
    return TreeBatch(inputs, row_T, place_T, token_T, answer_T, end_row_B, end_place_B, len(ends), tokens, forks)
