"""The base class of all settings: a field is a key in a TOML file and an option on the command line."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeGuard, TypeVar, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo

from spavl.errors import ConfigError
from spavl.text.nearest import nearest, suggestion
from spavl.text.secrets import has_userinfo, without_userinfo

C = TypeVar("C", bound=BaseModel)


class Settings(BaseModel):
    """Settings never change after they are read, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _hold_no_passwords(cls, given: Any) -> Any:
        """Reject URLs with credentials: settings are written to run folders, published, and used in model names."""
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if any(map(has_userinfo, texts_in(value))):
                raise ConfigError("an address holds a user's name or password", where=str(name), then=NO_USERINFO)
        return given


class WrongValue(ConfigError):
    """An invalid value, raised by a setting's own validator, which does not know the setting's section."""

    def __init__(self, error: ConfigError, field: str, value: str) -> None:
        super().__init__(error.what, where=f"{field} = {value!r}", then=error.then)
        self.field, self.value = field, value


NO_USERINFO = (
    "write the address without what stands before its @, as http://HOST:PORT/v1, and put the key into the variable "
    "SPAVL_API_KEY_HOST, with the host's own name in capitals and _ for its dots"
)


def texts_in(value: Any) -> Iterator[str]:
    """Every string in a table: keys and values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for pair in value.items() for each in pair for text in texts_in(each))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in texts_in(each))


class Option(NamedTuple):
    """A setting on the command line, such as `selection.per_leaf`."""

    name: str
    default: object
    help: str
    # The allowed values; empty if there is no fixed list.
    choices: tuple[str, ...] = ()

    @property
    def default_text(self) -> str:
        """The default as the user types it. Its JSON is also valid TOML, except `null`."""
        return self.default if self.default and isinstance(self.default, str) else json.dumps(self.default)


def read_table(file: str) -> dict[str, Any]:
    """The TOML table of a file."""
    return table_of(Path(file), file)


def table_of(source: Traversable, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(source.read_text())
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", where=name, then="spavl new my.toml writes one to begin with"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        then = "give a TOML file; spavl new my.toml writes one to begin with"
        raise ConfigError(f"cannot read this file: {error}", where=name, then=then) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not a TOML file: {error}", where=name, then="correct it at that place") from None


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
    except WrongValue as error:
        found = (name for name, value in _flat(merged) if _is_of(error, name, value))
        raise ConfigError(error.what, where=f"{next(found, error.field)} = {error.value!r}", then=error.then) from None


def write_config(config: BaseModel) -> str:
    """Every setting as TOML, including defaults. Reading it returns the same config."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def options(kind: type[BaseModel]) -> Iterator[Option]:
    """Every setting that the command line takes."""
    yield from (_option(name, field) for name, field, inner in _fields_of(kind) if inner is None)


def sections(kind: type[BaseModel]) -> dict[str, str]:
    """The description of each section, by section name."""
    return {name: field.description or "" for name, field, inner in _fields_of(kind) if inner is not None}


def differing(one: BaseModel, other: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ, as (name, value in `one`, value in `other`)."""
    before, after = (dict(_flat(each.model_dump(mode="json"))) for each in (one, other))
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def laid_over(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `table` with the values of `over`; nested tables are merged."""
    both = _copy(table)
    for name, value in over.items():
        inner = both.get(name)
        both[name] = laid_over(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return both


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_of(error: WrongValue, name: str, value: object) -> bool:
    """Whether the error is about this setting or one of its values."""
    return name.rpartition(".")[2] == error.field and error.value in (value if isinstance(value, list) else str(value))


def _fields_of(config: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo, type[BaseModel] | None]]:
    """Every setting and section by its full name; the last element is the class of a section, else None."""
    for name, field in config.model_fields.items():
        kind = next((part for part in (field.annotation, *get_args(field.annotation)) if part is not NoneType), None)
        # A dict of sections with keys chosen by the user is one setting.
        parts = () if get_origin(field.annotation) is dict else (kind, *get_args(field.annotation))
        inner = next((part for part in parts if _is_config(part)), None)
        yield prefix + name, field, inner
        if inner is not None:
            yield from _fields_of(inner, f"{prefix}{name}.")


def _option(name: str, field: FieldInfo) -> Option:
    is_choice = get_origin(field.annotation) is Literal
    names = tuple(choice for choice in get_args(field.annotation) if choice) if is_choice else ()
    choices = ("true", "false") if field.annotation is bool else names
    return Option(name, field.default, field.description or "", choices)


def _is_config(part: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _copy(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _value(text: str) -> object:
    """Parse a value as TOML; text that is not a TOML value stays a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _fault(error: ValidationError, kind: type[BaseModel], where: str) -> ConfigError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ConfigError(f"unknown setting: {name}", where=where, then=_setting_suggestion(name, kind))
    # For a setting with a union type, pydantic's location ends with the type that it tried.
    setting = next((each for each in options(kind) if f"{name}.".startswith(f"{each.name}.")), None)
    name = setting.name if setting else name
    what = f"{name}: {first['msg'].lower()} (got {without_userinfo(repr(first['input']))})"
    then = f"it is: {setting.help}" if setting else "correct it at that place"
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        then = f"{suggestion(first['input'], choices, 'choices')} {then}"
    return ConfigError(what, where=where, then=then)


def _setting_suggestion(name: str, kind: type[BaseModel]) -> str:
    """Suggest a known setting for an unknown one: in the same section, or with a similar name elsewhere."""
    key = name.rpartition(".")[2]
    here = _known_beside(name, kind)
    elsewhere = nearest(key, (option.name for option in options(kind)))
    if elsewhere and not nearest(key, here):
        return f"did you mean {' or '.join(elsewhere)}? known here: {', '.join(here)}"
    return suggestion(key, here, "known here")


def _known_beside(name: str, config: type[BaseModel]) -> list[str]:
    for section in name.split(".")[:-1]:
        field = config.model_fields.get(section)
        parts = (field.annotation, *get_args(field.annotation)) if field else ()
        config = next((part for part in parts if _is_config(part)), config)
    return sorted(config.model_fields)
