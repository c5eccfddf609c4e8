"""What of a model is trained: vision tower, projector and language model, each in its own way."""

import math
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from spavl.errors import ConfigError, TrainingError
from spavl.training.config import PartsConfig

Part = Literal["vision", "projector", "language"]
_TOWERS = ("vision_tower", "visual", "vision_model")
_PROJECTORS = ("multi_modal_projector", "connector", "aligner", "merger", "image_newline")


def prepare(model: Any, parts: PartsConfig, seed: int = 0) -> Any:
    """Freeze and free the model's parameters as the settings say; with LoRA, what comes back is PEFT's model.

    Dropout is taken out: it would make a policy differ from its reference before the first step.
    """
    without_dropout(model)
    wrapped = _with_lora(model, parts, seed) if parts.has_lora else model
    seeing = _free_of_vision(model, parts.vision)
    for name, parameter in model.named_parameters():
        part = part_of(name)
        if part == "vision":
            trains = name in seeing
        elif part == "projector":
            trains = parts.projector
        else:
            trains = "lora_" in name if parts.has_lora else parts.language == "full"
        parameter.requires_grad_(trains)
        if trains:
            # Steps of a millionth are lost in bfloat16; what is frozen may stay as it was loaded.
            parameter.data = (
                parameter.data.float() if parameter.dtype in (torch.bfloat16, torch.float16) else parameter.data
            )
    _check(model, parts)
    return wrapped


def freeze_vision(model: Any) -> None:
    """The paper's choice: all but the vision tower is trained."""
    prepare(model, PartsConfig())


def part_of(name: str) -> Part:
    """The part that a parameter belongs to, by its name, in all families of transformers."""
    pieces = name.split(".")
    # Qwen keeps its projector inside its tower, and calls it a merger.
    if any(piece in _PROJECTORS or piece.startswith("deepstack_merger") for piece in pieces):
        return "projector"
    return "vision" if any(piece in _TOWERS for piece in pieces) else "language"


def rate_of(parts: PartsConfig, name: str) -> float | None:
    """The learning rate that a part has of its own."""
    return {"vision": parts.vision_rate, "projector": parts.projector_rate, "language": None}[part_of(name)]


def count(model: nn.Module) -> dict[Part, tuple[int, int]]:
    """Of each part, how many parameters are trained, and how many there are."""
    found: dict[Part, tuple[int, int]] = {"vision": (0, 0), "projector": (0, 0), "language": (0, 0)}
    for name, parameter in model.named_parameters():
        trained, total = found[part_of(name)]
        found[part_of(name)] = trained + parameter.numel() * parameter.requires_grad, total + _numbers(parameter)
    return found


def _numbers(parameter: nn.Parameter) -> int:
    """How many weights it holds: in four bits, two of them are a byte."""
    packed = getattr(parameter, "quant_state", None)
    return parameter.numel() if packed is None else math.prod(packed.shape)


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        # Attention draws its own, by a number.
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def vision_tower(model: Any) -> nn.Module:
    """The part that looks at pixels, under the names the families of transformers give it."""
    for name in _TOWERS:
        tower = getattr(model.model, name, None)
        if isinstance(tower, nn.Module):
            return tower
    where = type(model).__name__
    raise TrainingError("this model's vision tower was not found", where=where, then="train a LLaVA-like model")


def _free_of_vision(model: Any, vision: str | int) -> set[str]:
    """The names of the tower's parameters that are to be trained; those that nothing reads stay frozen."""
    names = [name for name, _ in model.named_parameters() if part_of(name) == "vision"]
    if vision == "frozen" or (vision == "full" and not hasattr(model.config, "vision_feature_layer")):
        return set(names if vision == "full" else ())
    paths = {id(module): path for path, module in model.named_modules()}
    blocks = [f"{paths[id(block)]}." for block in _blocks(model)]
    read = _how_many_are_read(model, len(blocks))
    if isinstance(vision, int):
        if not 0 < vision <= read:
            then = f"give 1 to {read}, frozen or full"
            raise ConfigError(f"this tower has {read} blocks that are read", where="training.parts.vision", then=then)
        return {name for name in names if name.startswith(tuple(blocks[read - vision : read]))}
    tower: Any = vision_tower(model)
    if read == len(blocks) and tower.config.model_type != "clip_vision_model":
        return set(names)
    # In their order, what follows is made of the blocks beyond, or, as CLIP's last norm, of what is not asked for.
    last = max(place for place, name in enumerate(names) if name.startswith(blocks[read - 1]))
    return set(names[: last + 1])


def _blocks(model: Any) -> nn.ModuleList:
    stacks = [module for module in vision_tower(model).modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        what = "the blocks of its vision tower were not found"
        raise TrainingError(what, where=type(model).__name__, then="set training.parts.vision = 'frozen'")
    return max(stacks, key=len)


def _how_many_are_read(model: Any, blocks: int) -> int:
    """Of so many. LLaVA looks at what comes out of the last but one, and some look at several."""
    layers = getattr(model.config, "vision_feature_layer", blocks)
    several = [layers] if isinstance(layers, int) else layers
    # Counted as Python counts, with what goes into the first block as number nought.
    return max(layer if layer >= 0 else blocks + 1 + layer for layer in several)


def linear_layers(model: Any) -> list[str]:
    """Those of the language model but its head."""
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and part_of(name) == "language"
    ]


def _with_lora(model: Any, parts: PartsConfig, seed: int) -> PeftModel:
    """LoRA on every linear layer of the language model but the head, as in the paper."""
    lora = LoraConfig(r=parts.rank, lora_alpha=parts.alpha, target_modules=linear_layers(model), bias="none")
    # It begins with what dice have thrown, which must fall alike in every start of a run, and in all its processes.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, lora)


def _check(model: nn.Module, parts: PartsConfig) -> None:
    """Names mean what they say: a run that is called LoRA has LoRA parameters, and a frozen part has no free ones."""
    counts = count(model)
    asked: dict[Part, bool] = {
        "vision": parts.vision != "frozen",
        "projector": parts.projector,
        "language": parts.language != "frozen",
    }
    for part, wanted in asked.items():
        trained, total = counts[part]
        if bool(trained) != wanted and not (part == "projector" and total == 0):
            what = f"{part} was to be {'trained' if wanted else 'frozen'}, and {trained} of its parameters are free"
            raise TrainingError(what, where=f"training.parts.{part}", then="report this model")
    if not any(trained for trained, _ in counts.values()):
        then = "free at least one part under [training.parts]"
        raise ConfigError("nothing of this model would be trained", where="training.parts", then=then)
