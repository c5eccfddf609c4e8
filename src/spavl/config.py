"""The base of all settings: written once as a class, the same thing in a TOML file and on the command line."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings never change after they are read, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
