"""The model to be trained, and what of it is trained."""

from typing import Any

from torch import nn

from spavl.errors import TrainingError


def freeze_vision(model: Any) -> None:
    """Freeze the vision tower alone: projector and language model train, as in the paper."""
    tower = vision_tower(model)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for parameter in tower.parameters():
        parameter.requires_grad_(False)


def vision_tower(model: Any) -> nn.Module:
    """The part that looks at pixels, under the names the families of transformers give it."""
    for name in ("vision_tower", "visual", "vision_model"):
        tower = getattr(model.model, name, None)
        if isinstance(tower, nn.Module):
            return tower
    where = type(model).__name__
    raise TrainingError("this model's vision tower was not found", where=where, then="train a LLaVA-like model")


def trainable_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
