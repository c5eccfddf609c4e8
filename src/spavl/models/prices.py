"""Prices of calls: the table in prices.toml, overridden by the settings of a run."""

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from spavl.models.names import parse_served_name


class Price(NamedTuple):
    """USD per million tokens."""

    tokens_in: float
    tokens_out: float

    def of(self, tokens_in: float, tokens_out: float) -> float:
        return (self.tokens_in * tokens_in + self.tokens_out * tokens_out) / 1e6


FREE = Price(0.0, 0.0)


@functools.cache
def _price_table() -> Mapping[str, tuple[float, float]]:
    table = tomllib.loads(files("spavl.models").joinpath("prices.toml").read_text())
    return {name: (row[0], row[1]) for name, row in table["usd_per_million"].items()}


def price_of(model: str, own: Mapping[str, tuple[float, float]]) -> Price | None:
    """The price of an OpenAI-compatible model, NAME or NAME@URL; None if unknown.

    Keys of `own` are bare names or names as in other settings, openai/NAME@URL; a key with the server has precedence.
    """
    identity, name, _ = parse_served_name(model)
    spelled = (f"openai/{model}", model, identity, f"openai/{identity}", name, f"openai/{name}")
    # A key may start with the format of a guard: llama-guard-4/openai/NAME@URL.
    formatted = (row for key, row in own.items() if key.endswith(f"/openai/{model}"))
    row = next((own[key] for key in spelled if key in own), None) or next(formatted, None) or _price_table().get(name)
    return Price(*row) if row else None
