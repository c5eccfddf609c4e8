"""Which parameters a model reads, found by following a row with an image from its logits back to them.

Models bring more than they ask for: blocks of a tower beyond the one that is read, a norm after them, a mark for
masked patches, and what chooses tokens and never learns from it. What these are hangs on all parts of a model; the
graph of its own forward pass knows it.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from spavl.models.chat_template import as_written, shown_by
from spavl.training.model.anatomy import parts_of
from spavl.training.objectives.answers import BLANK_SIZE
from spavl.training.prefix_trees.tokenize import prompt_text

# Under these names transformers gives what goes on to the language model.
_GOES_ON = ("pooler_output", "deepstack_features")
_CANNOT_RUN = (AttributeError, RuntimeError, NotImplementedError, TypeError, ValueError, KeyError)


def blank_image(processor: Any, sizes: Iterable[tuple[int, int]] = ()) -> dict[str, Tensor]:
    """A question about an image as this model is shown it; what is read does not hang on what an image shows.

    Of several sizes it is the largest, for some parts are read of images alone that are looked at in pieces.
    """
    text = prompt_text(processor, "?", None)
    image = Image.new("RGB", max(sizes, key=lambda size: size[0] * size[1], default=BLANK_SIZE))
    return shown_by(processor, images=[[image]], text=[text], **as_written(processor.tokenizer, text))


def read_of(model: Any, row: Mapping[str, Tensor]) -> set[str]:
    """The names of the parameters that a row's logits hang on.

    Where it cannot be run, as without weights, what the towers make of an image is followed, and all else is
    believed to be read; and all of the towers where that cannot be done either.
    """
    with _as_followed(model):
        try:
            return _named(model, _leaves([_logits(model, row)]))
        except _CANNOT_RUN:
            rest = {name for name, part in parts_of(model).items() if part != "vision"}
        try:
            return _named(model, _leaves(_features(model, row))) | rest
        except _CANNOT_RUN:
            return set(parts_of(model))


def _named(model: nn.Module, found: set[int]) -> set[str]:
    return {name for name, parameter in model.named_parameters() if id(parameter) in found}


@contextmanager
def _as_followed(model: Any) -> Iterator[None]:
    """All numbers are leaves of the graph, nothing draws lots or counts a batch, and nothing is kept for a way back."""
    free = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = {module: module.training for module in model.modules()}
    for parameter in free:
        parameter.requires_grad_(parameter.is_floating_point())
    for module in training:
        module.training = False
    devices = [model.device] if model.device.type == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices),
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(lambda kept: None, lambda kept: kept),
        ):
            yield
    finally:
        for parameter, trains in free.items():
            parameter.requires_grad_(trains)
        for module, was in training.items():
            module.training = was


def _logits(model: Any, row: Mapping[str, Tensor]) -> Tensor:
    logits: Tensor = model(**_given(model, row), use_cache=False).logits
    return logits


def _features(model: Any, row: Mapping[str, Tensor]) -> list[Tensor]:
    """What a tower makes of an image: what goes on to the language model by its name, or all of it."""
    seeing = model if hasattr(model, "get_image_features") else model.model
    wanted = inspect.signature(seeing.get_image_features).parameters
    given = _given(model, {name: value for name, value in row.items() if name in wanted})
    made = seeing.get_image_features(**given, return_dict=True)
    named = [tensor for name in _GOES_ON for tensor in _tensors(getattr(made, name, None))]
    return named or _tensors(list(made.values()) if isinstance(made, Mapping) else made)


def _given(model: Any, row: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in row.items()
    }


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
