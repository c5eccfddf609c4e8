"""Reads a road's settings from a TOML file and from dotted options, and writes them back."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from spavl.errors import ConfigError
from spavl.road import RoadConfig, resolved
from spavl.secrets import without_userinfo

C = TypeVar("C", bound=BaseModel)
DEMO = "demo"


class Option(NamedTuple):
    """A setting as the command line knows it: `images.per_leaf`."""

    name: str
    default: object
    help: str

    @property
    def spelled(self) -> str:
        """The default as one types it. JSON is TOML too, save for `null`."""
        return self.default if self.default and isinstance(self.default, str) else json.dumps(self.default)

    @property
    def flags(self) -> list[str]:
        """As it is typed; the name of one that is in no section may have dashes."""
        names = (self.name,) if "." in self.name else (self.name, self.name.replace("_", "-"))
        return [f"--{name}" for name in dict.fromkeys(names)]


def read_table(file: str) -> dict[str, Any]:
    """The TOML table of a file; `demo` is the one that ships."""
    source = files("spavl.miniature").joinpath("demo.toml") if file == DEMO else Path(file)
    try:
        return tomllib.loads(source.read_text())
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", where=file, then="spavl new my.toml writes one to begin with"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        then = "give a TOML file; spavl new my.toml writes one to begin with"
        raise ConfigError(f"cannot read this file: {error}", where=file, then=then) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not a TOML file: {error}", where=file, then="correct it at that place") from None


def demo_table(by: str) -> dict[str, Any]:
    """The demo's settings, for one of the ways to align its model."""
    table = read_table(DEMO)
    if by == "dpo":
        return table
    return laid_over(table, tomllib.loads(files("spavl.miniature").joinpath(f"{by}.toml").read_text()))


def preset_names() -> dict[str, str]:
    """The presets that ship, and how each of them trains."""
    folder = files("spavl.training").joinpath("presets")
    names = sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))
    return {name: str(read_preset(name)["training"]["by"]) for name in names}


def read_preset(name: str) -> dict[str, Any]:
    return tomllib.loads(files("spavl.training").joinpath("presets", f"{name}.toml").read_text())


def differing(one: BaseModel, other: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    """The settings that are not the same in both, by name, with both values."""
    before, after = (dict(_flat(each.model_dump(mode="json"))) for each in (one, other))
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def laid_over(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A table with another's values in place of its own."""
    both = _copy(table)
    for name, value in over.items():
        inner = both.get(name)
        both[name] = laid_over(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return both


def read_config(table: Mapping[str, Any], options: Mapping[str, str], where: str) -> RoadConfig:
    """The settings of a road, with options such as {"images.per_leaf": "3"} laid over its table."""
    return resolved(read_settings(RoadConfig, table, options, where))


def read_settings(kind: type[C], table: Mapping[str, Any], options: Mapping[str, str], where: str) -> C:
    merged = _copy(table)
    for name, text in options.items():
        *sections, key = name.split(".")
        place = merged
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                then = f"write [{section}] with its settings under it"
                raise ConfigError(f"{section} is a section and no single setting", where=where, then=then)
        place[key] = _value(text)
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise _fault(error, kind, where) from None


def write_config(config: BaseModel) -> str:
    """Every setting as TOML, those left at their defaults too; read again, it is the same config."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def options(kind: type[BaseModel] = RoadConfig) -> Iterator[Option]:
    """Every setting that the command line takes."""
    yield from _options_of(kind, "")


def _options_of(config: type[BaseModel], prefix: str) -> Iterator[Option]:
    for name, field in config.model_fields.items():
        kind = next((part for part in (field.annotation, *get_args(field.annotation)) if part is not NoneType), None)
        # A table of them by names of the user's is one setting.
        parts = () if get_origin(field.annotation) is dict else (kind, *get_args(field.annotation))
        inner = next((part for part in parts if _is_config(part)), None)
        if inner is not None:
            yield from _options_of(inner, f"{prefix}{name}.")
        else:
            yield Option(prefix + name, field.default, field.description or "")


def _is_config(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _copy(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _value(text: str) -> object:
    """A value as TOML would write it; whatever is no TOML value is taken as the string it is."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _fault(error: ValidationError, kind: type[BaseModel], where: str) -> ConfigError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_beside(name, kind)
        return ConfigError(f"unknown setting: {name}", where=where, then=f"known here: {', '.join(known)}")
    verb = "build" if kind is RoadConfig else "eval"
    setting = next((each for each in options(kind) if f"{name}.".startswith(f"{each.name}.")), None)
    then = f"it is: {setting.help}" if setting else f"see what it means with: spavl {verb} --help | grep {name}"
    return ConfigError(
        f"{name}: {first['msg'].lower()} (got {without_userinfo(repr(first['input']))})", where=where, then=then
    )


def _known_beside(name: str, config: type[BaseModel]) -> list[str]:
    for section in name.split(".")[:-1]:
        field = config.model_fields.get(section)
        parts = (field.annotation, *get_args(field.annotation)) if field else ()
        config = next((part for part in parts if _is_config(part)), config)
    return sorted(config.model_fields)
