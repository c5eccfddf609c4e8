"""The results of a comparison of two models: what comparison.json holds, and what its page and its lines read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spavl.evaluation.metrics.item_changes import ItemChange, RateComparison
from spavl.evaluation.metrics.win_rates import WinRate
from spavl.judges.gold_answers import JudgeDrift
from spavl.store.files import write_text
from spavl.store.typed_json import to_json


class EvaluatedModel(NamedTuple):
    """A model, and the folder of its evaluation."""

    folder: Path
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResults:
    """What changed from one model to another."""

    before: EvaluatedModel
    after: EvaluatedModel
    # A line for each rate of a benchmark, and one for each rate of a leaf.
    lines: tuple[RateComparison, ...]
    leaves: tuple[RateComparison, ...]
    win_rates: tuple[WinRate, ...]
    # By guard: its verdicts on the gold answers that both evaluations judged.
    drift: Mapping[str, JudgeDrift]
    # Each difference in how the two were asked.
    asked_otherwise: tuple[str, ...]
    canaries: tuple[str, ...]
    withheld: tuple[str, ...]
    changes: tuple[ItemChange, ...]


def write_comparison(folder: Path, results: ComparisonResults) -> None:
    write_text(folder / "comparison.json", json.dumps(to_json(results), indent=2, ensure_ascii=False) + "\n")
