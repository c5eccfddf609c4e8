"""Reads the settings of a build from a TOML file, a preset and options."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from pydantic import BaseModel

from spavl import config
from spavl.config import laid_over, read_settings, table_of
from spavl.pipeline.registry import BuildConfig, resolve_build_config

DEMO = "demo"


def read_table(file: str, kind: type[BaseModel] = BuildConfig) -> dict[str, Any]:
    """The TOML table of a file; the name `demo` gives the demo's, which ships with spavl."""
    if file == DEMO:
        return table_of(files("spavl.miniature").joinpath("demo.toml"), file)
    return config.read_table(file, kind)


def demo_table(by: str) -> dict[str, Any]:
    """The demo's settings for one training algorithm."""
    table = read_table(DEMO)
    if by == "dpo":
        return table
    return laid_over(table, tomllib.loads(files("spavl.miniature").joinpath(f"{by}.toml").read_text()))


def preset_names() -> dict[str, str]:
    """The presets that ship with spavl, and the algorithm of each."""
    folder = files("spavl.training.objectives").joinpath("presets")
    names = sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))
    return {name: str(read_preset(name)["training"]["algorithm"]) for name in names}


def read_preset(name: str) -> dict[str, Any]:
    return tomllib.loads(files("spavl.training.objectives").joinpath("presets", f"{name}.toml").read_text())


def read_config(table: Mapping[str, Any], options: Mapping[str, str], where: str) -> BuildConfig:
    """The settings of a build; options such as {"selection.per_leaf": "3"} override the table."""
    return resolve_build_config(read_settings(BuildConfig, table, options, where))
