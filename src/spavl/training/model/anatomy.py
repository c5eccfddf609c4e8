"""Which part of a model each parameter belongs to: the language model, its towers, or what lies between them.

The language model is what transformers itself gives as the decoder, the words that go in and the head that scores
words; towers have many names, and one that is missed would be trained without a word. What is not of the language
model and no projector is vision, towers that hear among it: what nobody knows stays frozen, and is never trained
under another part's name.
"""

import re
from typing import Any, Literal

from torch import nn
from transformers import PreTrainedModel

from spavl.errors import TrainingError

Part = Literal["vision", "projector", "language"]
# What stands beside a tower and carries what it sees to the language model, in all families of transformers.
_PROJECTOR = re.compile(
    r"(.*_)?(projectors?|projection|proj|adapter)|connector|aligner|merger|qformer|(.*_)?resampler(_model)?"
    r"|visual_embeddings_table|embed_(vision|audio)|vision_embed_tokens|perception_emb_norm"
)
# Some keep it inside their tower: Qwen calls it a merger. Other names mean other things there.
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
    """What scores words; some models leave that to their decoder, and have none of their own to give."""
    for each in (model, model.get_decoder()):
        head = each.get_output_embeddings() if hasattr(each, "get_output_embeddings") else None
        if isinstance(head, nn.Module):
            return head
    return None


class _Anatomy:
    """Of one model, where its language model begins and ends."""

    def __init__(self, model: Any) -> None:
        paths = {id(module): path for path, module in model.named_modules()}
        try:
            found = [model.get_decoder(), model.get_input_embeddings(), head_of(model)]
            words = paths[id(found[1])]
        except (AttributeError, KeyError, NotImplementedError):
            then = "train a LLaVA-like model"
            raise TrainingError("its language model was not found", where=type(model).__name__, then=then) from None
        pieces = words.split(".")
        # The modules that hold the words, from the whole model down.
        self._above = {".".join(pieces[:length]) for length in range(len(pieces))}
        self._language = [paths[id(each)] for each in found if id(each) in paths]
        # Where the decoder is all there is, a tower is a model of its own in it, or what is known to look.
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
            # A decoder without towers in it is of language alone.
            return "projector" if self._towers and _PROJECTOR.fullmatch(top.rpartition(".")[2]) else "language"
        # What is no module, but a number of the whole model's own, marks or weighs what has been seen.
        is_bare = top == name
        between = is_bare or _PROJECTOR.fullmatch(top.rpartition(".")[2])
        return "projector" if between or any(map(_WITHIN.fullmatch, name.split("."))) else "vision"

    def _top(self, path: str) -> str:
        """The largest module on this path that does not hold the words."""
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


def marks_of_images(model: Any) -> set[int]:
    """The tokens in whose place the model reads images."""
    names = ("image_token_id", "video_token_id")
    return {token for name in names if (token := getattr(model.config, name, None)) is not None}
