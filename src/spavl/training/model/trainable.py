"""What of a model is trained: vision tower, projector and language model, each in its own way."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer, ParamWrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from spavl.errors import ConfigError, InternalError, TrainingError
from spavl.training.config import TrainableConfig
from spavl.training.model.anatomy import Part, head_of, parts_of, read_of

# Makes a row with one, as the model is shown it, where it is asked for.
ImageReader = Callable[[], Mapping[str, Tensor]]


def prepare(model: Any, parts: TrainableConfig, seed: int = 0, image: ImageReader | None = None) -> Any:
    """Freeze and free the model's parameters as the settings say; with LoRA, what comes back is PEFT's model.

    A row with an image tells what is read: what nobody reads stays frozen. Without one, all but the towers is
    believed to be read.
    Dropout is taken out, and norms keep to the statistics they came with: either would make a policy differ from its
    reference before the first step.
    """
    without_dropout(model)
    without_batch_statistics(model)
    wrapped = _with_lora(model, parts, seed) if parts.has_lora else model
    if image is None and parts.vision != "frozen":
        raise InternalError("what of a tower is read is not known without an image")
    part_of = parts_of(model)
    read = set(part_of) if image is None else read_of(model, image())
    seeing = _free_of_vision(model, parts.vision, {name for name in read if part_of[name] == "vision"})
    for name, parameter in model.named_parameters():
        trains = name in seeing if part_of[name] == "vision" else name in read and _is_asked(part_of[name], name, parts)
        parameter.requires_grad_(trains)
        if trains:
            # Steps of a millionth are lost in bfloat16; what is frozen may stay as it was loaded.
            parameter.data = (
                parameter.data.float() if parameter.dtype in (torch.bfloat16, torch.float16) else parameter.data
            )
    _check(model, parts)
    return wrapped


def widened(model: nn.Module) -> list[str]:
    """The names of what is kept in float32 since it is trained. LoRA is not among them, for it begins as nothing."""
    return [name for name, each in model.named_parameters() if each.requires_grad and "lora_" not in name]


def freeze_vision(model: Any) -> None:
    """The paper's choice: all but the vision tower is trained."""
    prepare(model, TrainableConfig())


def rates_of(module: nn.Module, parts: TrainableConfig) -> Callable[[str], float | None]:
    """The learning rate that a parameter's part has of its own, by the parameter's name."""
    own, part_of = {"vision": parts.vision_learning_rate, "projector": parts.projector_learning_rate}, parts_of(module)
    return lambda name: own.get(part_of[name])


def count(model: nn.Module) -> dict[Part, tuple[int, int]]:
    """Of each part, how many parameters are trained, and how many there are."""
    found: dict[Part, tuple[int, int]] = {"vision": (0, 0), "projector": (0, 0), "language": (0, 0)}
    part_of = parts_of(model)
    for name, parameter in model.named_parameters():
        trained, total = found[part_of[name]]
        found[part_of[name]] = trained + parameter.numel() * parameter.requires_grad, total + _numbers(parameter)
    return found


def _numbers(parameter: nn.Parameter) -> int:
    """How many weights it holds: in four bits, two of them are a byte."""
    packed = getattr(parameter, "quant_state", None)
    return parameter.numel() if packed is None else math.prod(packed.shape)


# Attention, layers that are skipped and routers draw their own, by a number.
_DRAWS = re.compile(r"\w*(dropout|drop_prob|drop_path|layer_?drop|pdrop|jitter_noise|jitter_eps)(_prob|_rate|_p)?")


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and _DRAWS.fullmatch(name):
                setattr(module, name, 0.0)


def without_batch_statistics(model: nn.Module) -> None:
    """What an answer scores must not hang on the others of its batch, nor a frozen tower learn from them.

    It stays so whenever the model is set to train, as it is after it has spoken.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
            vars(module)["train"] = MethodType(_stay, module)


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _is_asked(part: Part, name: str, parts: TrainableConfig) -> bool:
    """Whether the settings want it trained, of what is named by no number of blocks."""
    if part == "vision":
        return parts.vision == "full"
    if part == "projector":
        return parts.projector
    return "lora_" in name if parts.has_lora else parts.language == "full"


def _free_of_vision(model: Any, vision: str | int, read: set[str]) -> set[str]:
    """The names of the tower's parameters that are to be trained, of those that are read."""
    if vision == "frozen":
        return set()
    if vision == "full":
        return read
    reached = [block for block in _blocks(model, read) if any(name.startswith(block) for name in read)]
    if not isinstance(vision, int) or not 0 < vision <= len(reached):
        what, then = f"this tower has {len(reached)} blocks that are read", f"give 1 to {len(reached)}, frozen or full"
        raise ConfigError(what, where="training.trainable.vision", then=then)
    return {name for name in read if name.startswith(tuple(reached[-vision:]))}


def unread(model: nn.Module, parts: TrainableConfig) -> list[str]:
    """What was to be trained and stays frozen all the same, since nothing reads it."""
    part_of = parts_of(model)
    return [
        name
        for name, each in model.named_parameters()
        if not each.requires_grad and _is_asked(part_of[name], name, parts)
    ]


def _blocks(model: nn.Module, read: Iterable[str]) -> list[str]:
    """The longest stack of which something is read, of all towers that there may be."""
    stacks = [
        [f"{path}.{number}." for number in range(len(module))]
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and any(name.startswith(f"{path}.") for name in read)
    ]
    if not stacks:
        what = "the blocks of its vision tower were not found"
        raise TrainingError(what, where=type(model).__name__, then="set training.trainable.vision = 'frozen'")
    return max(stacks, key=len)


def told_of_unread(names: Sequence[str]) -> str:
    return f"{len(names)} parameters that were to be trained are read by nothing and stay frozen, such as {names[-1]}"


def linear_layers(model: Any) -> list[str]:
    """Those of the language model but its head."""
    head, part_of = head_of(model), parts_of(model)
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and part_of.get(f"{name}.weight") == "language"
    ]


def stacked_layers(model: Any) -> list[str]:
    """Parameters that are linear layers one upon another: the experts of a mixture, in the language model."""
    part_of = parts_of(model)
    return [
        f"{path}.{name}"
        for path, module in model.named_modules()
        if not isinstance(module, nn.modules.conv._ConvNd)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 3 and part_of.get(f"{path}.{name}") == "language"
    ]


def without_lora(model: nn.Module) -> dict[str, int]:
    """The language model's other matrices, such as routers and convolutions, and how many numbers each has.

    Words and head are none of them.
    """
    inside = model.get_base_model() if isinstance(model, PeftModel) else model
    part_of, layers = parts_of(inside), [each for each in inside.modules() if isinstance(each, LoraLayer)]
    learnt = [each.get_param() if isinstance(each, ParamWrapper) else each.get_base_layer().weight for each in layers]
    words = [each.weight for each in inside.modules() if isinstance(each, nn.Embedding)]
    head = head_of(inside)
    others = {id(each) for each in (*learnt, *words, *(head.parameters() if head is not None else ()))}
    return {
        name: parameter.numel()
        for name, parameter in inside.named_parameters()
        if part_of[name] == "language" and parameter.ndim > 1 and "lora_" not in name and id(parameter) not in others
    }


def told_of_without_lora(left: Mapping[str, int], model: nn.Module) -> str:
    learnt, total = count(model)["language"]
    share = sum(left.values()) / (total - learnt)
    what = f"{len(left)} matrices of the language model with {sum(left.values()):,} parameters ({share:.1%})"
    return f"{what} get no LoRA and stay frozen, such as {next(iter(left))}"


def _with_lora(model: Any, parts: TrainableConfig, seed: int) -> PeftModel:
    """LoRA on every linear layer of the language model but the head, as in the paper, experts among them."""
    lora = LoraConfig(
        r=parts.lora_rank,
        lora_alpha=parts.lora_alpha,
        target_modules=linear_layers(model),
        target_parameters=stacked_layers(model) or None,
        bias="none",
    )
    # It begins with random numbers, which must be the same in every start of a run, and in all its processes.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, lora)


def _check(model: nn.Module, parts: TrainableConfig) -> None:
    """Names mean what they say: a run that is called LoRA has LoRA parameters, and a frozen part has no free ones."""
    counts = count(model)
    if not counts["vision"][1]:
        # What looks at images would be trained as something else.
        then = "train a LLaVA-like model"
        raise TrainingError("this model's vision tower was not found", where=type(model).__name__, then=then)
    asked: dict[Part, bool] = {
        "vision": parts.vision != "frozen",
        "projector": parts.projector,
        "language": parts.language != "frozen",
    }
    for part, wanted in asked.items():
        trained, total = counts[part]
        if bool(trained) != wanted and not (part == "projector" and total == 0):
            what = f"{part} was to be {'trained' if wanted else 'frozen'}, and {trained} of its parameters are free"
            raise TrainingError(what, where=f"training.trainable.{part}", then="report this model")
    if not any(trained for trained, _ in counts.values()):
        then = "free at least one part under [training.trainable]"
        raise ConfigError("nothing of this model would be trained", where="training.trainable", then=then)
