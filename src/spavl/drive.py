"""Drives a run down the road: each stage that is not yet done, in order, then the report."""

import importlib
import json
from pathlib import Path
from typing import Any

from spavl.errors import ConfigError
from spavl.models.batches import BatchDesk
from spavl.models.limits import BatchConfig
from spavl.models.shop import ModelShop
from spavl.models.wrappers import Budget
from spavl.progress import Screen
from spavl.publishing.card import write_card
from spavl.report.content import gather
from spavl.report.page import render
from spavl.report.summary import summarize
from spavl.road import RoadConfig, StageEntry, stages_of
from spavl.settings import write_config
from spavl.stage import Job, finished
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text


async def drive(config: RoadConfig, out: Path, until: str | None, screen: Screen) -> dict[str, Any]:
    """Do what is left of a road and give its summary."""
    _check_batched(config)
    with RunFolder(out, config.seed) as run:
        run.write_config(write_config(config))
        budget = Budget(config.budget_usd, spent=run.ledger.totals()["usd"])
        desk = BatchDesk(run.path / "ledger", run.ledger, budget, config.batch) if config.batch.models else None
        models = ModelShop(run.ledger, budget, config.pace, config.prices, screen.say, desk, config.batch.models)
        try:
            manifests = []
            for entry in _left_to_walk(run, stages_of(config, until)):
                manifests.append(await _do(entry, config, run, models, screen))
        finally:
            await models.close()
        return write_report(run, manifests, config)


def _left_to_walk(run: RunFolder, entries: list[StageEntry]) -> list[StageEntry]:
    """Where a data set was brought in, the stages that would have led to it are no part of the road."""
    brought_in = [entry.name for entry in entries if (made := run.manifest(entry.name)) and made.origin is not None]
    if not brought_in:
        return entries
    names = [entry.name for entry in entries]
    last = max(names.index(name) for name in brought_in)
    return [entry for entry in entries if entry.name in brought_in or names.index(entry.name) > last]


def _check_batched(config: RoadConfig) -> None:
    """A slip in a name here would mean the full price."""
    spelled = config.model_copy(update={"batch": BatchConfig()}).model_dump_json()
    for name in config.batch.models:
        if not name.startswith("openai/") or f'{name}"' not in spelled:
            then = "name models as the other settings name them; only those of openai/ can go through batches"
            raise ConfigError(f"no stage asks {name!r} through a server", where="batch.models", then=then)


async def _do(entry: StageEntry, config: RoadConfig, run: RunFolder, models: ModelShop, screen: Screen) -> Manifest:
    settings = getattr(config, entry.section)
    job = Job(run, settings, config.seed, models, screen, config.in_flight, config.limit)
    done = finished(job, entry.plan)
    manifest: Manifest = done or await importlib.import_module(entry.module).run(job)
    rejected = sum(manifest.rejects.values())
    left_out = f", {rejected} rejected" if rejected else ""
    when = "done before" if done else f"{manifest.seconds:.1f} s"
    screen.say(f"{entry.name:<12} {manifest.rows:>7} rows{left_out}  ({when})")
    return manifest


def write_report(run: RunFolder, manifests: list[Manifest], config: RoadConfig) -> dict[str, Any]:
    summary = summarize(run, manifests, config.model_dump(mode="json"))
    write_text(run.path / "summary.json", json.dumps(summary, indent=2) + "\n")
    write_card(run, manifests, summary)
    write_text(run.path / "report.html", render(gather(run, manifests, summary)))
    return summary
