"""The last layer is computed only where somebody reads it.

What it makes of an image's tokens goes nowhere: later tokens see the layer's keys and values of the
image, but nobody its output there. In the parts that treat each token by itself, those that are not
read are left out, and so are their queries; what is given back in their places means nothing.
"""

from typing import Any

import torch
from torch import Tensor, nn

from spavl.training.prefix_trees.segment_attention import Forks


def read_last_layer_only_where_asked(model: Any) -> None:
    """From now on; whoever gives no forks, such as generation, gets all of it.

    Layers of other parts (Phi-3's has queries, keys and values in one) are computed whole.
    """
    layer: Any = layers_of(model)[-1]
    attention = getattr(layer, "self_attn", None)
    there = (getattr(attention, "q_proj", None), getattr(attention, "o_proj", None), getattr(layer, "mlp", None))
    parts = [part for part in there if isinstance(part, nn.Module)]
    if hasattr(layer, "spavl_reader") or len(parts) < len(there):
        return
    layer.spavl_reader = reader = _Reader()
    layer.register_forward_pre_hook(reader.begin, with_kwargs=True)
    for part in parts:
        part.register_forward_pre_hook(reader.narrow)
        part.register_forward_hook(reader.widen)


def layers_of(model: Any) -> nn.ModuleList:
    """The language model's, by whatever name: its longest stack."""
    stacks = [module for module in model.get_decoder().modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len)


class _Reader:
    """Where the layer is read in the pass under way."""

    def __init__(self) -> None:
        self._place_N: Tensor | None = None

    def begin(self, layer: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Called again where gradient checkpointing computes the layer again."""
        forks: Forks | None = named.get("forks")
        if forks is None:
            self._place_N = None
            return given, named
        of_segment = torch.tensor([segment.read for segment in forks])
        length = torch.tensor([segment.length for segment in forks])
        hidden = given[0] if given else named["hidden_states"]
        self._tokens = hidden.shape[1]
        self._place_N = of_segment.repeat_interleave(length).nonzero()[:, 0].to(hidden.device)
        return given, {**named, "read_only": True}

    def narrow(self, part: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        """[1, T, H] -> [1, N, H]"""
        return given if self._place_N is None else (given[0].index_select(1, self._place_N),)

    def widen(self, part: nn.Module, given: tuple[Tensor], made: Any) -> Any:
        """[1, N, H] -> [1, T, H]"""
        if self._place_N is None:
            return made
        if isinstance(made, tuple):
            # Beside it some experts give who of them was asked, for a loss that nobody takes here.
            return (self.widen(part, given, made[0]), *made[1:])
        return made.new_zeros(1, self._tokens, made.shape[2]).index_copy(1, self._place_N, made)
