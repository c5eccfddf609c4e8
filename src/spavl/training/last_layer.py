"""The last layer is computed only where somebody reads it.

What it makes of a picture's tokens goes nowhere: later tokens see the layer's keys and values of the
picture, but nobody its output there. In the parts that treat each token by itself, those that are not
read are left out, and so are their queries; what is given back in their places means nothing.
"""

from typing import Any

import torch
from torch import Tensor, nn

from spavl.training.forks import Forks


def read_last_layer_only_where_asked(model: Any) -> None:
    """From now on; whoever gives no forks, such as generation, gets all of it."""
    layer = model.get_decoder().layers[-1]
    if hasattr(layer, "spavl_reader"):
        return
    layer.spavl_reader = reader = _Reader()
    layer.register_forward_pre_hook(reader.begin, with_kwargs=True)
    for part in (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp):
        part.register_forward_pre_hook(reader.narrow)
        part.register_forward_hook(reader.widen)


class _Reader:
    """Where the layer is read in the pass under way."""

    def __init__(self) -> None:
        self._place_N: Tensor | None = None

    def begin(self, layer: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Called again where gradient checkpointing computes the layer again."""
        forks: Forks | None = named.get("forks")
        hidden_BTH = given[0] if given else named["hidden_states"]
        self._place_N = None if forks is None else _read_places(forks, hidden_BTH)
        return given, named if forks is None else {**named, "read_only": True}

    def narrow(self, part: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        """[B, T, H] -> [1, N, H]"""
        if self._place_N is None:
            return given
        self._shape = given[0].shape
        return (given[0].flatten(0, 1)[self._place_N][None],)

    def widen(self, part: nn.Module, given: tuple[Tensor], made_1NH: Tensor) -> Tensor:
        """[1, N, H] -> [B, T, H]"""
        if self._place_N is None:
            return made_1NH
        rows, places = self._shape[:2]
        made = made_1NH.new_zeros(rows * places, made_1NH.shape[-1]).index_copy(0, self._place_N, made_1NH[0])
        return made.view(rows, places, -1)


def _read_places(forks: Forks, hidden_BTH: Tensor) -> Tensor:
    width, found = hidden_BTH.shape[1], []
    for row, segments in enumerate(forks):
        start = row * width
        for length, _, read in segments:
            if read:
                found.append(torch.arange(start, start + length, device=hidden_BTH.device))
            start += length
    return torch.cat(found)
