"""Which part of a model each parameter belongs to, and which parameters a model reads.

The language model is what transformers gives as the decoder, the input embeddings and the head. Towers have many
names, and one that is missed would be trained unnoticed. So what belongs neither to the language model nor to a
projector counts as vision, audio towers among it: an unknown part stays frozen and is never trained under the name of
another part.

Models bring more than they read: blocks of a tower beyond the one whose output is used, a norm after them, an
embedding for masked patches. Which these are depends on all parts of a model; the graph of its own forward pass shows
it, followed from the logits of a row with an image back to the parameters.
"""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from spavl.errors import TrainingError
from spavl.models.chat_template import as_written, shown_by
from spavl.training.prefix_trees.tree import prompt_text

Part = Literal["vision", "projector", "language"]
# The size of a blank image.
BLANK_SIZE = (336, 336)
# The modules between a tower and the language model, in all families of transformers.
_PROJECTOR = re.compile(
    r"(.*_)?(projectors?|projection|proj|adapter)|connector|aligner|merger|qformer|(.*_)?resampler(_model)?"
    r"|visual_embeddings_table|embed_(vision|audio)|vision_embed_tokens|perception_emb_norm"
)
# Some families keep the projector inside the tower: Qwen calls it a merger. Other names mean other things there.
_WITHIN = re.compile(r"multi_modal_projector|connector|aligner|((deepstack|patch)_)?merger(_list)?|image_newline")


def parts_of(module: nn.Module) -> dict[str, Part]:
    """The part of each parameter, by its name, of a model or of what a model is wrapped in."""
    inside, model = _model_in(module)
    own = _Anatomy(model)
    return {
        name: own.part_of(name.removeprefix(inside)) if name.startswith(inside) else "language"
        for name, _ in module.named_parameters()
    }


def head_of(model: Any) -> Any:
    """The language model head; some models have it in their decoder."""
    for each in (model, model.get_decoder()):
        head = each.get_output_embeddings() if hasattr(each, "get_output_embeddings") else None
        if isinstance(head, nn.Module):
            return head
    return None


class _Anatomy:
    """The boundaries of a model's language model, towers and projector."""

    def __init__(self, model: Any) -> None:
        paths = {id(module): path for path, module in model.named_modules()}
        try:
            found = [model.get_decoder(), model.get_input_embeddings(), head_of(model)]
            words = paths[id(found[1])]
        except (AttributeError, KeyError, NotImplementedError):
            then = "train a LLaVA-like model"
            raise TrainingError("its language model was not found", where=type(model).__name__, then=then) from None
        pieces = words.split(".")
        # The modules that contain the input embeddings, from the whole model down.
        self._above = {".".join(pieces[:length]) for length in range(len(pieces))}
        self._language = [paths[id(each)] for each in found if id(each) in paths]
        # If the decoder is the whole model, a tower is a model inside it, or its image encoder.
        seeing = model.get_encoder(modality="image")
        self._towers = {
            self._top(path)
            for path, module in model.named_modules()
            if (isinstance(module, PreTrainedModel) or module is seeing)
            if path not in self._above and self._is_within(path)
        }

    def part_of(self, name: str) -> Part:
        top = self._top(name)
        if self._is_within(name) and top not in self._towers:
            # A decoder without towers is language model only.
            return "projector" if self._towers and _PROJECTOR.fullmatch(top.rpartition(".")[2]) else "language"
        # A parameter of the whole model itself marks or weights image features.
        is_bare = top == name
        between = is_bare or _PROJECTOR.fullmatch(top.rpartition(".")[2])
        return "projector" if between or any(map(_WITHIN.fullmatch, name.split("."))) else "vision"

    def _top(self, path: str) -> str:
        """The largest module on this path that does not contain the input embeddings."""
        pieces = path.split(".")
        return next(
            (top for length in range(1, len(pieces)) if (top := ".".join(pieces[:length])) not in self._above), path
        )

    def _is_within(self, path: str) -> bool:
        return any(not root or path == root or path.startswith(f"{root}.") for root in self._language)


def _model_in(module: nn.Module) -> tuple[str, Any]:
    for path, each in module.named_modules():
        if isinstance(each, PreTrainedModel):
            return f"{path}." if path else "", each
    raise TrainingError("there is no model of transformers in it", where=type(module).__name__, then="train one")


def image_tokens_of(model: Any) -> set[int]:
    """The placeholder tokens of images and videos."""
    names = ("image_token_id", "video_token_id")
    return {token for name in names if (token := getattr(model.config, name, None)) is not None}


# The names of image features that are passed on to the language model.
_GOES_ON = ("pooler_output", "deepstack_features")
_CANNOT_RUN = (AttributeError, RuntimeError, NotImplementedError, TypeError, ValueError, KeyError)


def blank_image(processor: Any, sizes: Iterable[tuple[int, int]] = ()) -> dict[str, Tensor]:
    """The inputs of a question about a blank image; which parameters are read does not depend on its content.

    It has the largest of the sizes, because the model reads some parts only for images that it splits into tiles.
    """
    text = prompt_text(processor, "?", None)
    image = Image.new("RGB", max(sizes, key=lambda size: size[0] * size[1], default=BLANK_SIZE))
    return shown_by(processor, images=[[image]], text=[text], **as_written(processor.tokenizer, text))


def read_of(model: Any, row: Mapping[str, Tensor]) -> set[str]:
    """The names of the parameters that the logits of a row depend on.

    If the model cannot be run, as without weights, only its image features are traced, and all parameters outside the
    towers count as read. If that fails too, all parameters count as read.
    """
    with _as_followed(model):
        try:
            return _parameter_names(model, _leaves([_logits(model, row)]))
        except _CANNOT_RUN:
            rest = {name for name, part in parts_of(model).items() if part != "vision"}
        try:
            return _parameter_names(model, _leaves(_features(model, row))) | rest
        except _CANNOT_RUN:
            return set(parts_of(model))


def _parameter_names(model: nn.Module, found: set[int]) -> set[str]:
    return {name for name, parameter in model.named_parameters() if id(parameter) in found}


@contextmanager
def _as_followed(model: Any) -> Iterator[None]:
    """Make all parameters leaves of the graph, with nothing random and nothing saved for a backward pass."""
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
    logits: Tensor = model(**_row_on_device(model, row), use_cache=False).logits
    return logits


def _features(model: Any, row: Mapping[str, Tensor]) -> list[Tensor]:
    """The image features: those that are passed on to the language model, if they are known by name, else all."""
    seeing = model if hasattr(model, "get_image_features") else model.model
    wanted = inspect.signature(seeing.get_image_features).parameters
    given = _row_on_device(model, {name: value for name, value in row.items() if name in wanted})
    made = seeing.get_image_features(**given, return_dict=True)
    named = [tensor for name in _GOES_ON for tensor in _tensors(getattr(made, name, None))]
    return named or _tensors(list(made.values()) if isinstance(made, Mapping) else made)


def _row_on_device(model: Any, row: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for name, value in row.items()
    }


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in value for tensor in _tensors(part)] if isinstance(value, list | tuple) else []


def _leaves(made: Iterable[Tensor]) -> set[int]:
    """The ids of the parameters from which these tensors were computed."""
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


def linear_layers(model: Any) -> list[str]:
    """The linear layers of the language model without its head."""
    head, part_of = head_of(model), parts_of(model)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and part_of.get(f"{name}.weight") == "language"
    ]


def stacked_layers(model: Any) -> list[str]:
    """Parameters of the language model that are stacks of linear layers: the experts of a mixture."""
    part_of = parts_of(model)
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if not isinstance(module, nn.modules.conv._ConvNd)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 3 and part_of.get(f"{path}.{name}") == "language"
    ]
