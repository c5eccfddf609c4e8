"""The base class of all settings: a field is a key in a TOML file and an option on the command line."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, TypeGuard, TypeVar, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo

from spavl.errors import ConfigError
from spavl.text.nearest import nearest, same_name, suggestion
from spavl.text.secrets import has_userinfo, without_userinfo
from spavl.text.setting_errors import in_own_words

C = TypeVar("C", bound=BaseModel)
# The largest whole number of a setting; seeds of numpy have the same limit.
LARGEST = 2**32 - 1
# Marks a setting that was added after runs were made: at its default it is not part of a stage's fingerprint.
ADDED_LATER: dict[str, JsonValue] = {"added_later": True}
# A comma before a URL separates two servers of one model.
_COMMA = re.compile(r",(?!https?://)")


class Settings(BaseModel):
    """Settings never change after they are read, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _hold_no_passwords(cls, given: Any) -> Any:
        """Reject URLs with credentials: settings are written to run folders, published, and used in model names."""
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if any(map(has_userinfo, texts_in(value))):
                raise ConfigError("an address holds a user's name or password", where=str(name), then=NO_USERINFO)
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _prepare(cls, given: Any, info: ValidationInfo) -> Any:
        """Find choices that are typed with - for _, and refuse senseless values."""
        field = cls.model_fields[info.field_name or ""]
        has_limit = any(hasattr(each, "le") or hasattr(each, "lt") for each in field.metadata)
        if isinstance(given, int) and given > LARGEST and not has_limit:
            raise ValueError(f"must be at most {LARGEST}")
        if field.annotation is str and field.default and given == "":
            raise ValueError("must not be empty")
        choices = _choices_of(field.annotation)
        if choices and isinstance(given, str):
            given = split_at_commas(given) if _is_list(field.annotation) else same_name(given, choices) or given
        if choices and isinstance(given, list):
            return [same_name(each, choices) or each if isinstance(each, str) else each for each in given]
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


def split_at_commas(text: str) -> list[str]:
    """The values of a list that is typed as one text with commas between them."""
    return [part.strip() for part in _COMMA.split(text) if part.strip()]


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
    # Whether it takes several values.
    is_list: bool = False

    @property
    def default_text(self) -> str:
        """The default as the user types it. Its JSON is also valid TOML, except `null`."""
        return self.default if self.default and isinstance(self.default, str) else json.dumps(self.default)


def read_table(file: str, kind: type[BaseModel]) -> dict[str, Any]:
    """The TOML table of a file of settings."""
    return with_underscores(table_of(Path(file), file), kind, file)


def table_of(source: Traversable, name: str, what: str = "file", known: Iterable[str] = ()) -> dict[str, Any]:
    """The TOML table of a file. `what` is the kind of file in errors, and `known` the names of those that ship."""
    new = f"spavl {'' if what == 'file' else f'{what} '}new my.toml writes one to begin with"
    try:
        return tomllib.loads(source.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        then = suggestion(name, known, "give the path of a TOML file, or one that ships") if known else new
        raise ConfigError(f"there is no such {what}", where=name, then=then) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not a TOML file: {error}", where=name, then="correct it at that place") from None
    except (OSError, UnicodeDecodeError) as error:
        then = f"give a TOML file; {new}"
        raise ConfigError(f"cannot read this file: {why_unread(error)}", where=name, then=then) from None


def with_underscores(table: Mapping[str, Any], kind: type[BaseModel], where: str) -> dict[str, Any]:
    """A copy of a table of settings in which keys with dashes have the names of their fields."""
    made: dict[str, Any] = {}
    for typed, value in table.items():
        name = same_name(typed, kind.model_fields) or typed
        if name in made:
            what = f"{name} is set twice, with a dash and with an underscore"
            raise ConfigError(what, where=where, then="delete one of the two")
        field = kind.model_fields.get(name)
        inner = _section_of(field.annotation) if field else None
        if inner is None:
            made[name] = _copy_tables(value)
        elif field and get_origin(field.annotation) is dict and isinstance(value, Mapping):
            made[name] = {own: _within(each, inner, where) for own, each in value.items()}
        else:
            made[name] = _within(value, inner, where)
    return made


def _within(value: Any, kind: type[BaseModel], where: str) -> Any:
    if isinstance(value, list):
        return [_within(each, kind, where) for each in value]
    return with_underscores(value, kind, where) if isinstance(value, Mapping) else value


def read_settings(kind: type[C], table: Mapping[str, Any], options: Mapping[str, str], where: str) -> C:
    merged = with_underscores(table, kind, where)
    annotations = {name: field.annotation for name, field, _ in _fields_of(kind)}
    for name, text in options.items():
        *sections, key = name.split(".")
        place = merged
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                then = f"write [{section}] with its settings under it"
                raise ConfigError(f"{section} is a section and no single setting", where=where, then=then)
        place[key] = _value(text, annotations.get(name))
    try:
        return kind.model_validate(with_underscores(merged, kind, where))
    except ValidationError as error:
        raise _fault(error, kind, where) from None
    except WrongValue as error:
        found = (name for name, value in flat_settings(merged) if _is_of(error, name, value))
        raise ConfigError(error.what, where=f"{next(found, error.field)} = {error.value!r}", then=error.then) from None


def why_unread(error: Exception) -> str:
    """Why a file cannot be read, without Python's own words."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def write_config(config: BaseModel, only_set: bool = False) -> str:
    """Every setting as TOML, including defaults unless `only_set`. Reading it returns the same config."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True, exclude_unset=only_set))


def options(kind: type[BaseModel]) -> Iterator[Option]:
    """Every setting that the command line takes."""
    yield from (_option(name, field) for name, field, inner in _fields_of(kind) if inner is None)


def sections(kind: type[BaseModel]) -> dict[str, str]:
    """The description of each section, by section name."""
    return {name: field.description or "" for name, field, inner in _fields_of(kind) if inner is not None}


def differing(one: BaseModel, other: BaseModel) -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ, as (name, value in `one`, value in `other`)."""
    before, after = (dict(flat_settings(each.model_dump(mode="json"))) for each in (one, other))
    for name in dict.fromkeys([*before, *after]):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def settings_to_hash(settings: BaseModel) -> dict[str, Any]:
    """The settings as JSON, without those that were added later and have their default."""
    table = settings.model_dump(mode="json")
    for name, field in type(settings).model_fields.items():
        value, marks = getattr(settings, name), field.json_schema_extra
        if isinstance(value, BaseModel):
            table[name] = settings_to_hash(value)
        elif isinstance(marks, dict) and "added_later" in marks and value == field.default:
            del table[name]
    return table


def laid_over(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `table` with the values of `over`; nested tables are merged."""
    both: dict[str, Any] = _copy_tables(table)
    for name, value in over.items():
        inner = both.get(name)
        both[name] = laid_over(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return both


def flat_settings(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a table by its full name, such as `training.loop.learning_rate`."""
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from flat_settings(value, f"{prefix}{name}.")
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
    return Option(name, field.default, field.description or "", choices, _is_list(field.annotation))


def _is_config(part: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _copy_tables(value: Any) -> Any:
    return {key: _copy_tables(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def _section_of(annotation: object) -> type[BaseModel] | None:
    """The class of a section, of a list of sections, or of a table of sections by name; None for a single setting."""
    parts = (annotation, *(_section_of(part) for part in get_args(annotation)))
    return next((part for part in parts if _is_config(part)), None)


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) is tuple


def _choices_of(annotation: object) -> list[str]:
    """The names that a setting, or each value of a list, may have; empty if there is no fixed list."""
    own = get_args(annotation) if get_origin(annotation) is Literal else ()
    inner = [choice for part in get_args(annotation) for choice in _choices_of(part)]
    return [*(choice for choice in own if isinstance(choice, str)), *inner]


def _value(text: str, annotation: object) -> object:
    """Parse a value as TOML; text that is not a TOML value stays a string, and so does the name 2024 of a folder."""
    try:
        value: object = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return split_at_commas(text) if _is_list(annotation) else text
    if annotation is str:
        return value if isinstance(value, str) else text
    if _is_list(annotation) and isinstance(value, str):
        return [value]
    return split_at_commas(text) if _is_list(annotation) and not isinstance(value, list) else value


def _fault(error: ValidationError, kind: type[BaseModel], where: str) -> ConfigError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ConfigError(f"unknown setting: {name}", where=where, then=_setting_suggestion(name, kind))
    setting, is_table = _setting_at(name, kind)
    # For a setting with a union type, pydantic's location ends with the type that it tried.
    name = setting.name if setting and not is_table else name
    what = f"{name}: {in_own_words(first)} (got {without_userinfo(repr(first['input']))})"
    then = f"it is: {setting.help}" if setting else "correct it at that place"
    if first["type"] == "literal_error" and isinstance(first["input"], str):
        choices = re.findall(r"'([^']*)'", first["ctx"]["expected"])
        then = f"{suggestion(first['input'], choices, 'choices')} {then}"
    return ConfigError(what, where=where, then=then)


def _setting_at(name: str, kind: type[BaseModel]) -> tuple[Option | None, bool]:
    """The setting at a location of pydantic's, and whether it is a table with keys chosen by the user."""
    for each, field, inner in _fields_of(kind):
        if inner is None and f"{name}.".startswith(f"{each}."):
            return _option(each, field), get_origin(field.annotation) is dict
    return None, False


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
