"""What the training of an arm begins with, and factors of it."""

import re
from collections.abc import Mapping
from typing import Any

from spavl.config import laid_over, read_settings
from spavl.errors import ConfigError
from spavl.pipeline.settings import demo_table, read_preset
from spavl.studies.config import Preset, StudyConfig

# In place of a number of the training: a multiple of what the preset has, since presets differ.
_FACTOR = re.compile(r"x ?(\d+(?:\.\d+)?)")
# The paper's learning rate of DPO with LoRA is so many times that of its full training.
_OF_LORA = "x20"


def with_preset(config: StudyConfig, model: str, name: str, own: Mapping[str, Any]) -> StudyConfig:
    """The settings of an arm: those of its preset, then the study's, then its own."""
    common = config.model_dump(exclude_unset=True, exclude={"axes", "arms", "expectations"})
    table = laid_over(common, own)
    asked = table.get("training", {})
    trainable = asked.get("trainable", {})
    language = trainable.get("language", "") if isinstance(trainable, Mapping) else ""
    preset = preset_table(config.preset, model, str(asked.get("algorithm", "dpo")), language)
    before = laid_over(preset, common.get("training", {}))
    training = _with_factors(laid_over(preset, asked), before)
    return read_settings(StudyConfig, table | {"training": training}, {}, where=f"arms.{name}" if name else "axes")


def preset_table(preset: Preset, model: str, algorithm: str, language: str = "") -> dict[str, Any]:
    """What the training of an algorithm begins with, if the language model is trained in this way.

    The last weights of a cell are kept, not those that a guard likes best: so no validation of a preset applies, and
    the cells of one arm differ in nothing but their seed.
    """
    of_others: Preset = "spa-vl" if language == "full" else "spa-vl-lora"
    preset = preset or ("miniature" if model.startswith("miniature/") else of_others)
    short = {"dpo": "dpo", "ppo": "ppo", "reward": "rm"}.get(algorithm)
    if short is None:
        table = read_preset("sft")["training"]
    elif preset == "miniature":
        table = demo_table("ppo" if algorithm == "ppo" else "dpo")["training"] | {"algorithm": algorithm}
        if language in ("lora", "qlora"):
            table = _with_factors({**table, "loop": table["loop"] | {"learning_rate": _OF_LORA}}, table)
    else:
        table = read_preset(f"spa-vl-{short}{'-lora' if preset == 'spa-vl-lora' else ''}")["training"]
    return {name: value for name, value in table.items() if name != "validation"}


def _with_factors(table: Mapping[str, Any], before: Mapping[str, Any], prefix: str = "training.") -> dict[str, Any]:
    """The settings with every factor, such as "x2", as that multiple of what the arm would have without it."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        known = before.get(name)
        if isinstance(value, Mapping):
            found[name] = _with_factors(value, known if isinstance(known, Mapping) else {}, f"{prefix}{name}.")
        elif isinstance(value, str) and (factor := _FACTOR.fullmatch(value)):
            if not isinstance(known, int | float):
                then = "give the value itself, or set it for all arms too"
                raise ConfigError(f"{value} of what? It has no value to begin with", where=f"{prefix}{name}", then=then)
            found[name] = type(known)(round(known * float(factor[1]), 12))
        else:
            found[name] = value
    return found
