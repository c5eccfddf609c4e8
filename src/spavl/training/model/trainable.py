"""Loads a checkpoint, sets which of its parameters are trained (of the vision tower, the projector and the language
model), and saves the trained model in the forms of transformers and peft.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer, ParamWrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from spavl.errors import ConfigError, InternalError, TrainingError
from spavl.models.backends.hf import base_of, load_checkpoint
from spavl.models.factory import checkpoint_path
from spavl.store.files import filling
from spavl.training.config import TrainableConfig, TrainingConfig
from spavl.training.model.anatomy import Part, head_of, linear_layers, parts_of, read_of, stacked_layers
from spavl.training.prefix_trees.attention import refuse_encoder_decoder

ADAPTER = "adapter_config.json"

_SIDE = 256
# The relative error of a matrix product with 256 terms: 3e-7 in float32, 3e-4 in TF32, 2e-3 in bfloat16.
_MAX_FLOAT32_ERROR = 1e-5
_VARIABLES = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, NVIDIA_TF32_OVERRIDE and ONEDNN_DEFAULT_FPMATH_MODE"
# Makes the inputs of a row with an image.
ImageReader = Callable[[], Mapping[str, Tensor]]


def load(settings: TrainingConfig, trusted: Collection[str] = ()) -> tuple[Any, Any]:
    """The processor, and the model in training mode."""
    path, is_qlora = checkpoint_path(settings.model), settings.trainable.language == "qlora"
    if is_qlora:
        _check_qlora(settings)
    disable_tf32()
    if is_qlora:
        from spavl.training.model.qlora import load_in_four_bits  # asks for bitsandbytes, which few installations have

        processor, model = load_in_four_bits(path, dtype=frozen_dtype(settings), trusted=trusted)
    else:
        processor, model = load_checkpoint(path, dtype=frozen_dtype(settings), trusted=trusted)
    if settings.loop.precision == "float32":
        check_float32(model.device)
    refuse_encoder_decoder(model)
    # Gradient checkpointing works in training mode only. Without dropout the two modes do not differ otherwise.
    model.train()
    if settings.loop.gradient_checkpointing:
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    return processor, model


def frozen_dtype(settings: TrainingConfig) -> str:
    """The dtype in which frozen weights are stored."""
    return "bfloat16" if settings.loop.precision == "bf16" else "float32"


def _check_qlora(settings: TrainingConfig) -> None:
    if settings.trainable.projector or settings.trainable.vision != "frozen":
        what = "qlora is saved as an adapter, which holds LoRA weights only"
        then = "set training.trainable.projector = false and training.trainable.vision = 'frozen'"
        raise ConfigError(what, where="training.trainable", then=then)
    if settings.loop.shard:
        then = "set training.loop.shard = false: weights in four bits are small"
        raise ConfigError("weights in four bits cannot be sharded", where="training.loop.shard", then=then)


def disable_tf32() -> None:
    """Switch TF32 off: container images for GPUs often switch it on, and convolutions use it by default."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def check_float32(device: torch.device) -> None:
    """Refuse a device that rounds float32 products to TF32 or bfloat16, which environment variables can cause."""
    if (error := float32_error(device)) > _MAX_FLOAT32_ERROR:
        raise ConfigError(
            f"a product of float32 matrices has a relative error of {error:.1g} on this device",
            where="training.loop.precision",
            then=f"unset {_VARIABLES}, or set training.loop.precision = 'bf16'",
        )


def float32_error(device: torch.device) -> float:
    """The relative error of a product of float32 matrices against the same product in float64."""
    rng = torch.Generator().manual_seed(0)
    one, other = (torch.randn(_SIDE, _SIDE, generator=rng) for _ in range(2))
    exact = one.double() @ other.double()
    found = (one.to(device) @ other.to(device)).double().cpu()
    return float((found - exact).norm() / exact.norm())


def save(folder: Path, model: Any, processor: Any) -> None:
    """Write a checkpoint into a folder.

    LoRA alone is saved as an adapter, which names its base model. If more was trained, the merged model is saved: not
    every server loads an adapter with a projector of its own.
    """
    saved = _as_saved(model)
    if isinstance(saved, PeftModel) and (commit := getattr(saved.get_base_model(), "commit", None)):
        # The revision of a base model on a hub: the adapter is only valid for those weights.
        for adapter in saved.peft_config.values():
            adapter.revision = adapter.revision or commit
    saved.save_pretrained(folder)
    processor.save_pretrained(folder)


def merge(adapter: Path, out: Path, trusted: Collection[str] = ()) -> None:
    """Save an adapter and its base as one merged model, for servers that load no adapters."""
    if not adapter.is_dir():
        then = "give the folder of a run, or of its checkpoint"
        raise ConfigError("no such folder", where=str(adapter), then=then)
    if not (adapter / ADAPTER).exists():
        then = "a checkpoint without LoRA, or with a trained projector, is saved whole: there is nothing to merge"
        raise ConfigError(f"no adapter in this folder: {ADAPTER} is missing", where=str(adapter), then=then)
    if out.exists():
        raise ConfigError("this folder exists already", where=str(out), then="give another --out")
    processor, model = load_checkpoint(base_of(str(adapter)) or "", trusted=trusted)
    with filling(out) as folder:
        save(folder, PeftModel.from_pretrained(model, adapter).merge_and_unload(), processor)


def _as_saved(model: Any) -> Any:
    if not isinstance(model, PeftModel):
        return model
    is_lora_alone = all("lora_" in name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return model if is_lora_alone else model.merge_and_unload()


def prepare(model: Any, parts: TrainableConfig, seed: int = 0, image: ImageReader | None = None) -> Any:
    """Set which parameters are trained; with LoRA, PEFT's model is returned.

    A row with an image shows which parameters the model reads: unread ones stay frozen. Without such a row, all
    parameters but those of towers count as read.
    Dropout is switched off, and batch norms keep their statistics: either would make the policy differ from its
    reference before the first step.
    """
    without_dropout(model)
    without_batch_statistics(model)
    wrapped = _with_lora(model, parts, seed) if parts.has_lora else model
    if image is None and parts.vision != "frozen":
        raise InternalError("which parameters of a tower are read cannot be found without an image")
    part_of = parts_of(model)
    read = set(part_of) if image is None else read_of(model, image())
    in_vision = _trained_of_vision(model, parts.vision, {name for name in read if part_of[name] == "vision"})
    for name, parameter in model.named_parameters():
        trains = (
            name in in_vision if part_of[name] == "vision" else name in read and _is_asked(part_of[name], name, parts)
        )
        parameter.requires_grad_(trains)
        if trains:
            # Small updates are lost in bfloat16. Frozen weights stay as they were loaded.
            parameter.data = (
                parameter.data.float() if parameter.dtype in (torch.bfloat16, torch.float16) else parameter.data
            )
    _check(model, parts)
    return wrapped


def float32_weight_names(model: nn.Module) -> list[str]:
    """The loaded weights that are kept in float32 because they are trained; LoRA weights are not among them."""
    return [name for name, each in model.named_parameters() if each.requires_grad and "lora_" not in name]


def freeze_vision(model: Any) -> None:
    """Train all but the vision tower, as the SPA-VL paper does."""
    prepare(model, TrainableConfig())


def rates_of(module: nn.Module, parts: TrainableConfig) -> Callable[[str], float | None]:
    """A function that returns the own learning rate of a parameter's part, by the parameter's name; None if not set."""
    own, part_of = {"vision": parts.vision_learning_rate, "projector": parts.projector_learning_rate}, parts_of(module)
    return lambda name: own.get(part_of[name])


def count(model: nn.Module) -> dict[Part, tuple[int, int]]:
    """The number of trained parameters of each part, and of all its parameters."""
    found: dict[Part, tuple[int, int]] = {"vision": (0, 0), "projector": (0, 0), "language": (0, 0)}
    part_of = parts_of(model)
    for name, parameter in model.named_parameters():
        trained, total = found[part_of[name]]
        found[part_of[name]] = trained + parameter.numel() * parameter.requires_grad, total + _numbers(parameter)
    return found


def _numbers(parameter: nn.Parameter) -> int:
    """The number of weights: in four bits, one byte holds two of them."""
    packed = getattr(parameter, "quant_state", None)
    return parameter.numel() if packed is None else math.prod(packed.shape)


# Attributes that make attention, skipped layers and routers random, besides dropout modules.
_RANDOM = re.compile(r"\w*(dropout|drop_prob|drop_path|layer_?drop|pdrop|jitter_noise|jitter_eps)(_prob|_rate|_p)?")


def without_dropout(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and _RANDOM.fullmatch(name):
                setattr(module, name, 0.0)


def without_batch_statistics(model: nn.Module) -> None:
    """Keep batch norms in evaluation mode, even if the model is set to training mode.

    Otherwise the score of an answer would depend on the other answers of its batch.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
            vars(module)["train"] = MethodType(_stay, module)


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _is_asked(part: Part, name: str, parts: TrainableConfig) -> bool:
    """Whether the settings say that a parameter is trained; `_trained_of_vision` handles a number of vision blocks."""
    if part == "vision":
        return parts.vision == "full"
    if part == "projector":
        return parts.projector
    return "lora_" in name if parts.has_lora else parts.language == "full"


def _trained_of_vision(model: Any, vision: str | int, read: set[str]) -> set[str]:
    """The names of the parameters of the tower that are trained, given those that are read."""
    if vision == "frozen":
        return set()
    if vision == "full":
        return read
    read_blocks = [block for block in _blocks(model, read) if any(name.startswith(block) for name in read)]
    if not isinstance(vision, int) or not 0 < vision <= len(read_blocks):
        what, then = (
            f"the model uses {len(read_blocks)} blocks of this vision tower",
            f"give 1 to {len(read_blocks)}, frozen or full",
        )
        raise ConfigError(what, where="training.trainable.vision", then=then)
    return {name for name in read if name.startswith(tuple(read_blocks[-vision:]))}


def unread(model: nn.Module, parts: TrainableConfig) -> list[str]:
    """The parameters that the settings say to train and that stay frozen since the model does not read them."""
    part_of = parts_of(model)
    return [
        name
        for name, each in model.named_parameters()
        if not each.requires_grad and _is_asked(part_of[name], name, parts)
    ]


def _blocks(model: nn.Module, read: Iterable[str]) -> list[str]:
    """The longest stack of blocks of all towers, among the stacks with a parameter in `read`."""
    stacks = [
        [f"{path}.{number}." for number in range(len(module))]
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and any(name.startswith(f"{path}.") for name in read)
    ]
    if not stacks:
        what = "the blocks of its vision tower were not found"
        raise TrainingError(what, where=type(model).__name__, then="set training.trainable.vision = 'frozen'")
    return max(stacks, key=len)


def unread_in_words(names: Sequence[str]) -> str:
    return f"{len(names)} parameters to be trained are not used by the model and stay frozen, such as {names[-1]}"


def without_lora(model: nn.Module) -> dict[str, int]:
    """The matrices of the language model that get no LoRA, such as routers and convolutions, and their sizes.

    Embeddings and head are not listed.
    """
    inside = model.get_base_model() if isinstance(model, PeftModel) else model
    part_of, layers = parts_of(inside), [each for each in inside.modules() if isinstance(each, LoraLayer)]
    learned = [each.get_param() if isinstance(each, ParamWrapper) else each.get_base_layer().weight for each in layers]
    words = [each.weight for each in inside.modules() if isinstance(each, nn.Embedding)]
    head = head_of(inside)
    others = {id(each) for each in (*learned, *words, *(head.parameters() if head is not None else ()))}
    return {
        name: parameter.numel()
        for name, parameter in inside.named_parameters()
        if part_of[name] == "language" and parameter.ndim > 1 and "lora_" not in name and id(parameter) not in others
    }


def without_lora_in_words(left: Mapping[str, int], model: nn.Module) -> str:
    learned, total = count(model)["language"]
    share = sum(left.values()) / (total - learned)
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
    # Its random initial weights must be the same in every start of a run, and in all its processes.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, lora)


def _check(model: nn.Module, parts: TrainableConfig) -> None:
    """Check that exactly the parts that the settings name have trained parameters."""
    counts = count(model)
    if not counts["vision"][1]:
        # An unknown tower would be trained as part of the language model.
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
            what = f"{part} was to be {'trained' if wanted else 'frozen'}, but {trained} of its parameters are trained"
            raise TrainingError(what, where=f"training.trainable.{part}", then="report this model")
    if not any(trained for trained, _ in counts.values()):
        then = "train at least one part under [training.trainable]"
        raise ConfigError("no parameter of this model would be trained", where="training.trainable", then=then)
