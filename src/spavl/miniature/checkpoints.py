"""The checkpoints of the miniature that ship in the package, by the name after `miniature/`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class ShippedCheckpoint(NamedTuple):
    """The model family of transformers, and the folder beside this file."""

    family: str
    folder: str


CHECKPOINTS: Mapping[str, ShippedCheckpoint] = MappingProxyType(
    {"base": ShippedCheckpoint("llava", "checkpoint"), "qwen": ShippedCheckpoint("qwen2_vl", "checkpoint_qwen")}
)
