"""The tensors of one forward pass: trees laid beside each other in rows, and where their answers stand."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from spavl.errors import TrainingError
from spavl.training.encode import Group, Row, encode
from spavl.training.family import Family, Rows, Seen, check_attention, family_of
from spavl.training.losses import token_logprobs
from spavl.training.tree import Tree, grow, visible

# Words' logits are made for so many answer tokens at a time: all at once they would outweigh the model.
_LOGITS_AT_ONCE = 1024
# The most that sharing may move the log-probability of one token: rounding, and nothing else.
_ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.05}


class Batch(NamedTuple):
    """The model's inputs, and where the answers stand in them."""

    inputs: dict[str, Any]
    # The (row, place) of each answer token's *predecessor*, the token to predict there, and whose it is.
    row_T: Tensor
    place_T: Tensor
    token_T: Tensor
    answer_T: Tensor
    answers: int


class Laid(NamedTuple):
    """A tree and where it lies in the batch."""

    group: Group
    tree: Tree
    row: int
    start: int


def make_batch(model: Any, processor: Any, rows: Sequence[Row], share: bool = True) -> Batch:
    """Rows as trees, one for each picture, so far as the model's family allows it; `share=False`: as plain rows."""
    family = family_of(model) if share else Family("nothing", "asked for")
    groups, pictures, marks = encode(processor, rows, family.shares)
    if family.shares == "nothing":
        return _plain(groups, pictures, marks)
    check_attention(model)
    return lay_out(model, family, groups, pictures)


def lay_out(model: Any, family: Family, groups: Sequence[Group], pictures: Mapping[str, Tensor]) -> Batch:
    """Trees of groups of rows, as many in a row as the longest tree leaves room for."""
    trees = _beside_each_other(groups)
    shape = (trees[-1].row + 1, max(laid.start + len(laid.tree.tokens) for laid in trees))
    ids_BT, depth_BT = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    prompt_BT = torch.zeros(shape, dtype=torch.bool)
    # A place that is left over sees itself: a softmax over nothing is no number.
    visible_BTT = torch.eye(shape[1], dtype=torch.bool).repeat(shape[0], 1, 1)
    for group, tree, row, start in trees:
        here = slice(start, start + len(tree.tokens))
        ids_BT[row, here], depth_BT[row, here] = torch.tensor(tree.tokens), torch.tensor(tree.depths)
        visible_BTT[row, here, here] = torch.from_numpy(visible(tree))
        for path, places in zip(group.paths, tree.places, strict=True):
            prompt_BT[row, [start + place for place in places[: path.answer]]] = True
    seen = Seen(visible_BTT, depth_BT, ids_BT == model.config.image_token_id, prompt_BT)
    positions = depth_BT + family.first
    if family.row_positions is not None:
        positions = _positions_by_row(family.row_positions(model, _rows(groups, pictures)), trees, shape)
    inputs = {"input_ids": ids_BT, "attention_mask": family.mask(model, seen), "position_ids": positions, **pictures}
    return _scored(inputs, trees)


def _beside_each_other(groups: Sequence[Group]) -> list[Laid]:
    """In the groups' order, which is the order of their pictures."""
    grown = [(group, grow(group.paths)) for group in groups]
    room = max(len(tree.tokens) for _, tree in grown)
    laid: list[Laid] = []
    row = start = 0
    for group, tree in grown:
        if start + len(tree.tokens) > room:
            row, start = row + 1, 0
        laid.append(Laid(group, tree, row, start))
        start += len(tree.tokens)
    return laid


def _rows(groups: Sequence[Group], pictures: Mapping[str, Tensor]) -> Rows:
    paths = [(path, number) for number, group in enumerate(groups) for path in group.paths]
    shape = (len(paths), max(len(path.tokens) for path, _ in paths))
    ids_RT, filled_RT = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for row, (path, _) in enumerate(paths):
        ids_RT[row, : len(path.tokens)], filled_RT[row, : len(path.tokens)] = torch.tensor(path.tokens), 1
    return Rows(ids_RT, filled_RT, pictures, [number for _, number in paths])


def _positions_by_row(positions_ART: Tensor, trees: Sequence[Laid], shape: tuple[int, int]) -> Tensor:
    """A token stands in the tree where it stood in its row; rows that share it agree about that."""
    positions_ABT = torch.zeros((len(positions_ART), *shape), dtype=torch.long)
    number = 0
    for _, tree, row, start in trees:
        for places in tree.places:
            positions_ABT[:, row, [start + place for place in places]] = positions_ART[:, number, : len(places)]
            number += 1
    return positions_ABT


def _plain(groups: Sequence[Group], pictures: Mapping[str, Tensor], marks: Sequence[Mapping[str, list[int]]]) -> Batch:
    """Each row by itself, padded on the right, as the model's makers meant it."""
    trees = [Laid(group, grow(group.paths), row, 0) for row, group in enumerate(groups)]
    names = ("input_ids", "attention_mask", *marks[0])
    shape = (len(trees), max(len(laid.tree.tokens) for laid in trees))
    inputs = {name: torch.zeros(shape, dtype=torch.long) for name in names}
    for (_, tree, row, _), of_prompt in zip(trees, marks, strict=True):
        inputs["input_ids"][row, : len(tree.tokens)] = torch.tensor(tree.tokens)
        inputs["attention_mask"][row, : len(tree.tokens)] = 1
        for name, values in of_prompt.items():
            inputs[name][row, : len(values)] = torch.tensor(values)
    return _scored({**inputs, **pictures}, trees)


def _scored(inputs: dict[str, Any], trees: Sequence[Laid]) -> Batch:
    """An answer's first token is predicted at the prompt's last one, wherever the tree has put that."""
    spans = [
        (number, laid.row, laid.start + before, path.tokens[place])
        for laid in trees
        for number, path, places in zip(laid.group.numbers, laid.group.paths, laid.tree.places, strict=True)
        for place, before in enumerate(places[path.answer - 1 : -1], start=path.answer)
    ]
    answer_T, row_T, place_T, token_T = (torch.tensor(column) for column in zip(*spans, strict=True))
    return Batch(inputs, row_T, place_T, token_T, answer_T, sum(len(laid.group.numbers) for laid in trees))


def answer_token_logprobs(model: Any, batch: Batch) -> Tensor:
    """The log-probability of every answer token; words are scored at the answers' places only."""
    hidden_BTH = model.model(**_moved(batch.inputs, model.device), use_cache=False).last_hidden_state
    hidden_TH = hidden_BTH[batch.row_T, batch.place_T]
    token_T = batch.token_T.to(model.device)
    pieces = list(zip(torch.split(hidden_TH, _LOGITS_AT_ONCE), torch.split(token_T, _LOGITS_AT_ONCE), strict=True))
    if len(pieces) == 1 or not torch.is_grad_enabled():
        return torch.cat([token_logprobs(model.lm_head(hidden), token) for hidden, token in pieces])

    def score(hidden: Tensor, token: Tensor) -> Tensor:
        return token_logprobs(model.lm_head(hidden), token)

    return torch.cat([checkpoint(score, *piece, use_reentrant=False) for piece in pieces])


def _moved(value: Any, device: torch.device) -> Any:
    return {name: _moved(part, device) for name, part in value.items()} if isinstance(value, dict) else value.to(device)


def answer_logprobs(model: Any, batch: Batch) -> Tensor:
    """The summed log-probability of each answer, in the order of the rows the batch was made of."""
    return sum_by_answer(answer_token_logprobs(model, batch), batch)


def sum_by_answer(logprobs_T: Tensor, batch: Batch) -> Tensor:
    answer_T = batch.answer_T.to(logprobs_T.device)
    return logprobs_T.new_zeros(batch.answers).index_add(0, answer_T, logprobs_T)


@torch.no_grad()
def check_sharing(model: Any, processor: Any, rows: Sequence[Row]) -> float:
    """How far sharing moves any answer token's score on these rows; more than rounding is refused."""
    trees, plain = (make_batch(model, processor, rows, share) for share in (True, False))
    scores = [sorted_by_answer(answer_token_logprobs(model, batch), batch) for batch in (trees, plain)]
    moved = float((scores[0] - scores[1]).abs().max())
    if moved > _ROUNDING[model.dtype]:
        what = f"sharing pictures between rows moves this model's scores by {moved:.2g}"
        raise TrainingError(what, where=model.name_or_path, then="report this model; train it with share = false")
    return moved


def sorted_by_answer(logprobs_T: Tensor, batch: Batch) -> Tensor:
    """The answers' tokens in the order of their rows."""
    return logprobs_T[batch.answer_T.argsort(stable=True)]
