"""results.json as tables: one for each benchmark and condition, a row for each model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_ORDER = ("unsafe", "over_refusal", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    model: str
    # By what is told: the estimate, and p against the base.
    cells: Mapping[str, Mapping[str, Any]]
    p: Mapping[str, float]
    macro: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One benchmark under one condition, by the judges whose word is reported."""

    benchmark: str
    does: str
    condition: str
    judge: str
    told: tuple[str, ...]
    rows: tuple[Row, ...]


def shown_of(results: Mapping[str, Any]) -> Iterator[Shown]:
    whole = [each for each in results["figures"] if each["part"] == "all" and each["judge"] in results["reported_by"]]
    for name, about in results["benchmarks"].items():
        for condition in dict.fromkeys(each["condition"] for each in whole if each["benchmark"] == name):
            own = [each for each in whole if each["benchmark"] == name and each["condition"] == condition]
            told = tuple(each for each in _ORDER if any(figure["told"] == each for figure in own))
            models = [*results["tested"], *results["always"]]
            rows = tuple(row for model in models if (row := _row(model, own, results, name)).cells)
            judges = sorted({each["judge"] for each in own})
            yield Shown(
                benchmark=name,
                does=about["does"],
                condition=condition,
                judge=", ".join(judges),
                told=told,
                rows=rows,
            )


def _row(model: str, own: list[Mapping[str, Any]], results: Mapping[str, Any], benchmark: str) -> Row:
    figures = [figure for figure in own if figure["model"] == model and figure["told"] in _ORDER]
    real = any(figure["condition"] == "real" for figure in figures)
    pairs = [pair for pair in results["pairs"] if pair["model"] == model and pair["benchmark"] == benchmark]
    return Row(
        model=model,
        cells={figure["told"]: figure["micro"] for figure in figures},
        p={pair["told"]: pair["p_holm"] for pair in pairs} if real else {},
        macro={figure["told"]: figure["macro"] for figure in figures if figure["macro"]},
    )
