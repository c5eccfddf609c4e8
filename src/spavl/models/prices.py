"""What calls cost: a table in a file, to which a run adds its own."""

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple


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
    """The price of an OpenAI-compatible model by its bare name; None where it is not known."""
    row = own.get(model) or _known().get(model)
    return Price(*row) if row else None
