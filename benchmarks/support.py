"""Which classes of transformers are scored exactly, and how: `python -m benchmarks.support` writes docs/models.md.

Every image-text-to-text class is made tiny and random (see tiny_models.py), given rows of made-up tokens with an image
where it takes one, and scored twice: as spavl lays rows out, and one by one by the class's own forward, asked for all
its logits.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import torch
import transformers
from benchmarks.tiny_models import (
    NotMade,
    Shown,
    classes,
    forget_positions,
    image_for,
    image_mark,
    marks_of,
    tiny_of,
)
from torch import Tensor

from spavl.errors import TrainingError
from spavl.training.model.trainable import count
from spavl.training.objectives.losses import token_logprobs
from spavl.training.prefix_trees.attention import family_of, refuse_encoder_decoder
from spavl.training.prefix_trees.batch import TreeBatch, lay_out, lay_out_plain
from spavl.training.prefix_trees.logprobs import answer_token_logprobs, by_answer, has_states
from spavl.training.prefix_trees.tree import ImageGroup
from spavl.training.prefix_trees.tree import TokenPath as Row

PAGE = Path("docs/models.md")
# The most that the order of sums may move a score in single precision.
ROUNDING = 1e-3
How = Literal["trees", "rows", "rows, whole forward", "refused", "not tried"]
# Two answers to one question, of different lengths: one is padded where rows lie in a batch.
_QUESTION, _ANSWERS = (12, 13, 14, 15), ((20, 21, 22), (20, 23, 24, 25, 26))


class Measured(NamedTuple):
    kind: str
    name: str
    how: How
    image: bool = False
    # How far any answer token's score is from the class's own forward, in nats.
    rows: float | None = None
    trees: float | None = None
    why: str = ""


@torch.no_grad()
def measure(kind: str) -> Measured:
    found = Measured(kind, classes()[kind], "not tried")
    try:
        model = tiny_of(kind)
    except NotMade as error:
        return found._replace(why=str(error))
    try:
        refuse_encoder_decoder(model)
    except TrainingError as error:
        return found._replace(how="refused", why=error.what)
    shown = image_for(model)
    found = found._replace(image=shown is not None)
    rows = _rows(model, shown or Shown(0, {}))
    try:
        own = [_own(model, row, shown) for row in rows]
        changed = [_own(model, row._replace(tokens=(*row.tokens[:-1], 30)), shown) for row in rows]
    except Exception as error:  # a forward of any kind, given what it may not have been made for
        first = next(line for line in str(error).splitlines() if line.strip())
        return found._replace(why=f"no row was found that it takes: {type(error).__name__}: {first.strip()}")
    if max(_apart(one[:-1], other[:-1]) for one, other in zip(own, changed, strict=True)) > ROUNDING:
        return found._replace(how="refused", why="it scores an answer's tokens by what comes after them")
    found = found._replace(rows=_off(model, _plain(model, rows, shown), own))
    if not found.rows <= ROUNDING:
        return found._replace(how="refused", why="its rows score otherwise side by side than one by one")
    family = family_of(model)
    if family.shares == "nothing":
        how: How = "rows" if has_states(model) else "rows, whole forward"
        blind = "" if count(model)["vision"][1] else "; it is refused while it has no vision tower, as here"
        return found._replace(how=how, why=f"{family.why}{blind}")
    if shown is None:
        return found._replace(how="trees", why=f"{family.why}; no image was found for it here")
    group = ImageGroup([0, 1], rows)
    trees = _off(model, lay_out(model, family, [group], shown.tensors), own)
    return found._replace(how="trees" if trees <= ROUNDING else "rows", trees=trees, why=family.why)


def _rows(model: Any, shown: Shown) -> list[Row]:
    prompt = (11, *[image_mark(model) or 0] * shown.tokens, *_QUESTION)
    return [Row((*prompt, *answer), len(prompt)) for answer in _ANSWERS]


def _own(model: Any, row: Row, shown: Shown | None) -> Tensor:
    """The answer's scores by the class's own forward, of one row alone."""
    ids = torch.tensor([row.tokens])
    marks = marks_of(model, ids, torch.arange(ids.shape[1])[None] >= row.answer)
    images = shown.tensors if shown else {}
    forget_positions(model)
    logits_TV = model(input_ids=ids, attention_mask=torch.ones_like(ids), **marks, **images, use_cache=False).logits[0]
    before_T = slice(row.answer - len(row.tokens) - 1, -1)
    return token_logprobs(logits_TV[before_T], ids[0, row.answer :])


def _plain(model: Any, rows: Sequence[Row], shown: Shown | None) -> TreeBatch:
    prompts = [torch.tensor([row.tokens[: row.answer]]) for row in rows]
    marks = [
        {name: (of_row[0], torch.zeros_like(of_row[0, -1])) for name, of_row in marks_of(model, ids, ids < 0).items()}
        for ids in prompts
    ]
    images = {name: torch.cat([each] * len(rows)) for name, each in (shown.tensors if shown else {}).items()}
    groups = [ImageGroup([number], [row]) for number, row in enumerate(rows)]
    return lay_out_plain(groups, images, marks, family_of(model).answer_marks)


def _off(model: Any, batch: TreeBatch, own: Sequence[Tensor]) -> float:
    forget_positions(model)
    found = by_answer(answer_token_logprobs(model, batch), batch)
    return max(_apart(torch.tensor(one), other) for one, other in zip(found, own, strict=True))


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def page(measured: Sequence[Measured]) -> str:
    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.0e}"

    lines = [
        "# Models",
        "",
        f"Written by `python -m benchmarks.support`, with transformers {transformers.__version__}.",
        "",
        "Every image-text-to-text class, tiny and random, made from its default configuration without a file of a hub.",
        "Rows are made-up tokens, with an image where one was found that the class uses; processors are not",
        "in it, which `spavl train` looks at when it begins, on your own model and data. Numbers are the furthest that",
        "any answer token's score is from the class's own `forward`, asked for all its logits of one row, in nats and",
        f"single precision; {ROUNDING:g} is the most that passes.",
        "",
        "- **trees**: answers to one question, or all about one image, go through the model together;",
        "- **rows**: row by row; **rows, whole forward**: all logits of each row are made, which takes more memory,",
        "  and no reward model or critic can be read off it;",
        "- **refused**: `spavl train` stops, and says why;",
        "- **not tried**: there is no tiny model or no row of it here, and nothing is said of it.",
        "",
        "| class | kind | how | image | rows off by | trees off by | why |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in measured:
        cells = (f"`{each.name}`", f"`{each.kind}`", each.how, "yes" if each.image else "no", cell(each.rows))
        why = each.why.replace("|", "/")[:170]
        lines.append(f"| {' | '.join(cells)} | {cell(each.trees)} | {why} |")
    total = {how: sum(each.how == how for each in measured) for how in How.__args__}  # type: ignore[attr-defined]
    lines += ["", "; ".join(f"{how}: {number}" for how, number in total.items()) + f"; {len(measured)} in all."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    found = []
    for kind in sys.argv[1:] or classes():
        found.append(measure(kind))
        print(*found[-1], flush=True)
    if not sys.argv[1:]:
        PAGE.write_text(page(found))
