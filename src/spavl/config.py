"""The base of all settings: written once as a class, the same thing in a TOML file and on the command line."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from spavl.errors import ConfigError
from spavl.secrets import has_userinfo


class Settings(BaseModel):
    """Settings never change after they are read, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _hold_no_passwords(cls, given: Any) -> Any:
        """Settings are written into every run, into what is published of it, and into names of models."""
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if any(map(has_userinfo, _texts_in(value))):
                raise ConfigError("an address holds a user's name or password", where=str(name), then=NO_USERINFO)
        return given


NO_USERINFO = (
    "write the address without what stands before its @, as http://HOST:PORT/v1, and put the key into the variable "
    "SPAVL_API_KEY_HOST, with the host's own name in capitals and _ for its dots"
)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for pair in value.items() for each in pair for text in _texts_in(each))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts_in(each))
