"""Which parameters of a vision tower a model reads, found by following a picture through it.

Towers bring more than a model asks them for: blocks beyond the one that is read, a norm after them, a head that makes
one vector of a picture, a mark for masked patches. What these are hangs on the tower and on the model; the graph of a
real forward pass knows it of both.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from spavl.models.chat import as_written
from spavl.training.answers import BLANK_SIZE
from spavl.training.encode import prompt_text

# Under these names transformers gives what goes on to the language model.
_GOES_ON = ("pooler_output", "deepstack_features")
_CANNOT_RUN = (AttributeError, RuntimeError, NotImplementedError, TypeError, ValueError)


def blank_picture(processor: Any) -> dict[str, Tensor]:
    """A picture as this model is shown it: what is read of a tower does not hang on what a picture shows."""
    text = prompt_text(processor, "?", None)
    written = as_written(processor.tokenizer, text)
    made = processor(images=[Image.new("RGB", BLANK_SIZE)], text=[text], return_tensors="pt", **written)
    return dict(made)


def read_of_tower(model: Any, names: Iterable[str], picture: Mapping[str, Tensor]) -> set[str]:
    """Of a tower's parameters those that what it makes of a picture hangs on.

    All of them where that cannot be found out: a model without weights may have no way to be run.
    """
    tower: dict[str, nn.Parameter] = {name: model.get_parameter(name) for name in names}
    for parameter in tower.values():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        made = _features(model, picture)
    except _CANNOT_RUN:
        return set(tower)
    reached = _leaves(made)
    return {name for name, parameter in tower.items() if id(parameter) in reached}


@torch.enable_grad()
def _features(model: Any, picture: Mapping[str, Tensor]) -> list[Tensor]:
    seeing = model if hasattr(model, "get_image_features") else model.model
    wanted = inspect.signature(seeing.get_image_features).parameters
    place = next(model.parameters()).device
    given = {
        name: value.to(place, model.dtype) if value.is_floating_point() else value.to(place)
        for name, value in picture.items()
        if name in wanted
    }
    made = seeing.get_image_features(**given, return_dict=True)
    return [tensor for name in _GOES_ON for tensor in _tensors(getattr(made, name, None))]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, list | tuple) else []


def _leaves(made: Iterable[Tensor]) -> set[int]:
    """The ids of the parameters that these tensors were made with."""
    left: list[Any] = [tensor.grad_fn for tensor in made if tensor.grad_fn is not None]
    seen, found = set(left), set[int]()
    while left:
        node = left.pop()
        if (parameter := getattr(node, "variable", None)) is not None:
            found.add(id(parameter))
        below = [each for each, _ in node.next_functions if each is not None and each not in seen]
        seen.update(below)
        left += below
    return found
