"""Prices of calls: a table that ships, overridden by the settings of a run."""

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from spavl.models.names import served


class Price(NamedTuple):
    """USD per million tokens."""

    tokens_in: float
    tokens_out: float

    def of(self, tokens_in: float, tokens_out: float) -> float:
        return (self.tokens_in * tokens_in + self.tokens_out * tokens_out) / 1e6


FREE = Price(0.0, 0.0)


@functools.cache
def _known() -> Mapping[str, tuple[float, float]]:
    table = tomllib.loads(files("spavl.models").joinpath("prices.toml").read_text())
    return {name: (row[0], row[1]) for name, row in table["usd_per_million"].items()}


def price_of(model: str, own: Mapping[str, tuple[float, float]]) -> Price | None:
    """The price of an OpenAI-compatible model, NAME or NAME@URL; None where it is not known.

    `own` has it by its bare name or as models are named elsewhere, openai/NAME@URL; what names the server goes first.
    """
    identity, name, _ = served(model)
    spelled = (f"openai/{model}", model, identity, f"openai/{identity}", name, f"openai/{name}")
    # A guard's format may stand before: llama-guard-4/openai/NAME@URL.
    formatted = (row for key, row in own.items() if key.endswith(f"/openai/{model}"))
    row = next((own[key] for key in spelled if key in own), None) or next(formatted, None) or _known().get(name)
    return Price(*row) if row else None
