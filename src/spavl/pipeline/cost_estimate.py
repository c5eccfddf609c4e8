"""The dry run: the number, tokens and price of the calls that remain."""

import importlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spavl.data.responses.run import responders_of
from spavl.data.sourcing.sources import is_missing
from spavl.errors import ConfigError
from spavl.models.backends.dry_run import Case, CostCountingFactory, LengthEvidence
from spavl.pipeline.preflight import check_named, pending_entries
from spavl.pipeline.registry import BuildConfig, StageEntry, remaining_stages, stages_of
from spavl.stages.cost_model import CostContext, CostEstimate, CostLine, Estimate, WeightedRow
from spavl.store import RunFolder


async def estimate_cost(config: BuildConfig, out: Path, until: str | None) -> CostEstimate:
    """Estimate the likely and the maximum cost. A first pass collects lengths of finished calls for the likely case."""
    with RunFolder(out, look_only=True) as run:
        trying = CostCountingFactory(
            run.ledger, config.prices, "likely", settings=config.model_settings, pace=config.pace
        )
        entries = remaining_stages(run, stages_of(config, until))
        left = pending_entries(entries, config, run, trying)
        check_named(config, run, left, trying, complete=False)
        likely = await _walk(config, run, left, "likely", LengthEvidence())
        if (evidence := LengthEvidence.of(likely.tallies)) != LengthEvidence():
            likely = await _walk(config, run, left, "likely", evidence)
        most = await _walk(config, run, left, "most", LengthEvidence())
        spent = run.ledger.totals()["usd"] + run.ledger.usd_lost()
    lines = [CostLine(*place, tally, most.tallies[place]) for place, tally in likely.tallies.items()]
    return CostEstimate(
        lines, [entry.name for entry in entries if entry not in left], spent, list(_missing(config, left))
    )


def _missing(config: BuildConfig, left: Sequence[StageEntry]) -> Iterator[str]:
    """Problems that would stop a build but do not affect its price."""
    sections = {entry.section for entry in left}
    if "sourcing" in sections and is_missing(config.sourcing):
        then = "put the images there, or name another place with sourcing.source"
        yield str(ConfigError("the source of images is not there yet", where=config.sourcing.source, then=then))
    if "responses" in sections:
        try:
            responders_of(config.responses)
        except ConfigError as error:
            yield str(error)


async def likely_usd(config: BuildConfig, out: Path, left: Sequence[StageEntry]) -> dict[str, float]:
    """The likely cost of each remaining stage; a model of unknown price counts as 0."""
    with RunFolder(out, look_only=True) as run:
        models = await _walk(config, run, left, "likely", LengthEvidence())
    costs: dict[str, float] = {}
    for (stage, _model), tally in models.tallies.items():
        costs[stage] = costs.get(stage, 0.0) + (tally.usd or 0.0)
    return costs


async def _walk(
    config: BuildConfig, run: RunFolder, left: Sequence[StageEntry], case: Case, evidence: LengthEvidence
) -> CostCountingFactory:
    batched, own = config.batch.models, config.model_settings
    models = CostCountingFactory(run.ledger, config.prices, case, evidence, batched, own, config.pace)
    expected: dict[str, list[WeightedRow[Any]]] = {}
    for entry in left:
        if estimate := _estimate_of(entry):
            context = CostContext(entry.name, entry.settings(config), config.seed, run, models, expected, config.limit)
            expected[entry.name] = await estimate(context)
    return models


def _estimate_of(entry: StageEntry) -> Estimate | None:
    """The function named after the stage in its package's `estimate.py`; None without that file: it calls no model."""
    name = f"{entry.module.rpartition('.')[0]}.estimate"
    if find_spec(name) is None:
        return None
    estimate: Estimate = getattr(importlib.import_module(name), entry.name)
    return estimate
