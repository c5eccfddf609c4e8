"""Runs a build: each stage that is not finished, in order, then the report."""

import importlib
import json
from pathlib import Path

from spavl.config import differing, texts_in, write_config
from spavl.errors import ConfigError, StoreError
from spavl.evaluation import canaries
from spavl.evaluation.before_after.results import BeforeAfterResults, read_tables, results_of
from spavl.evaluation.config import JUDGEMENTS
from spavl.models.backends.replay import ReplayFactory
from spavl.models.batch_api.queue import open_batch_queue
from spavl.models.factory import ModelFactory
from spavl.models.wrappers.rate_limit import BatchConfig
from spavl.models.wrappers.stack import Budget
from spavl.pipeline.cost_estimate import likely_usd
from spavl.pipeline.preflight import context_of, pending_entries, preflight
from spavl.pipeline.registry import BuildConfig, StageEntry, remaining_stages, stages_of
from spavl.pipeline.report.page import render
from spavl.pipeline.report.run_summary import RunSummary
from spavl.pipeline.report.summary import summarize
from spavl.pipeline.report.view_model import gather
from spavl.pipeline.settings import read_config, read_table
from spavl.publishing.card import write_card
from spavl.stages.finishing import current_manifest
from spavl.stages.monitor import progress_snapshot
from spavl.store import Manifest, RunFolder
from spavl.store.files import write_text
from spavl.terminal.progress import Screen

# Settings that training depends on.
_OF_TRAINING = ("training.", "seed")


async def run_build(config: BuildConfig, out: Path, until: str | None, screen: Screen) -> RunSummary:
    """Run the stages that are not finished and return the summary of the run."""
    _check_batched(config)
    with RunFolder(out, config.seed) as run:
        run.write_config(write_config(config))
        budget = Budget(config.budget_usd, spent=run.ledger.totals()["usd"] + run.ledger.usd_lost())
        queue = open_batch_queue(config.batch, run, budget)
        models = ModelFactory(
            run.ledger,
            budget,
            config.pace,
            config.prices,
            screen.say,
            queue,
            config.batch.models,
            config.model_settings,
        ).trusting(config.trust_remote_code)
        stages = remaining_stages(run, stages_of(config, until))
        left = pending_entries(stages, config, run, models)
        canaries.ask_again(run, [entry.spec for entry in left])
        await preflight(config, run, left, screen.say)
        expected = await likely_usd(config, out, left) if screen.is_live and _costs(config) else {}
        look = progress_snapshot(models, budget, screen, expected)
        try:
            with screen.table(f"spavl build  {out}", [entry.name for entry in stages], look):
                manifests = [await _run_stage(entry, config, run, models, screen) for entry in stages]
        finally:
            await models.close()
        return write_report(run, manifests, config)


async def check_training(config: BuildConfig, out: Path, screen: Screen) -> None:
    """Run the preflight checks of training before its data is imported."""
    with RunFolder(out, config.seed, look_only=True) as run:
        models = _from_ledger(config, run)
        stages = [entry for entry in stages_of(config) if entry.section == "training"]
        await preflight(config, run, pending_entries(stages, config, run, models), screen.say)


def refuse_another_training(config: BuildConfig, out: Path) -> None:
    """Raise ConfigError if the run holds a checkpoint trained in another way: it must not be overwritten."""
    with RunFolder(out, config.seed, look_only=True) as run:
        entry = next(entry for entry in stages_of(config) if entry.section == "training")
        context = context_of(entry, config, run, _from_ledger(config, run), Screen(quiet=True))
        if run.manifest(entry.name) is None or current_manifest(context, entry.spec):
            return
    before = read_config(read_table(str(out / "config.toml")), {}, where=str(out / "config.toml"))
    changed = ((name, old, new) for name, old, new in differing(before, config) if name.startswith(_OF_TRAINING))
    told = [f"{name} was {old}, not {new}" for name, old, new in changed]
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    what = "this run holds a checkpoint that was trained otherwise: "
    what += ", ".join(told[:3]) + more if told else "on other data, or by another version of spavl"
    raise ConfigError(what, where=f"--out {out}", then="choose another folder with --out")


async def run_worker_process(config: BuildConfig, out: Path) -> None:
    """Run a process of `accelerate launch` other than the first: it only trains; the first does everything else."""
    with RunFolder(out, config.seed, look_only=True) as run:
        entry = next(entry for entry in stages_of(config) if entry.section == "training")
        context = context_of(entry, config, run, _from_ledger(config, run), Screen(quiet=True))
        if current_manifest(context, entry.spec) is None:
            await importlib.import_module(entry.module).run_worker(context)


def _from_ledger(config: BuildConfig, run: RunFolder) -> ReplayFactory:
    return ReplayFactory(run.ledger, config.model_settings, config.pace).trusting(config.trust_remote_code)


async def replay(config: BuildConfig, out: Path, until: str | None, screen: Screen) -> RunSummary:
    """Rebuild a run's tables and data set from its ledger and its images alone."""
    if not (out / "ledger" / "calls.sqlite").exists():
        then = "give the folder of a run with --out, or build without --replay"
        raise StoreError("there is no run to replay", where=str(out), then=then)
    with RunFolder(out, config.seed) as run:
        models, manifests = _from_ledger(config, run), list[Manifest]()
        for entry in remaining_stages(run, stages_of(config, until)):
            context = context_of(entry, config, run, models, screen)
            before = run.manifest(entry.name)
            if not entry.spec.outside and (before is None or before.origin is None):
                manifest = await importlib.import_module(entry.module).run(context)
            elif (manifest := current_manifest(context, entry.spec)) is None:
                then = "type the command without --replay, for it has to be done first"
                raise StoreError(f"{entry.name} cannot be replayed: {entry.does}", where=str(out), then=then)
            manifests.append(manifest)
            same = before is not None and before.content == manifest.content
            rejected = sum(manifest.rejects.values())
            screen.report_finished(entry.name, manifest.rows, rejected, "as before" if same else "not as before")
        return write_report(run, manifests, config)


def _check_batched(config: BuildConfig) -> None:
    """Raise ConfigError for a batch model that no other setting names: a typo would cost the full price."""
    others = config.model_copy(update={"batch": BatchConfig(), "model_settings": {}})
    named = list(texts_in(others.model_dump(mode="json")))
    for name in config.batch.models:
        # In the name of a guard or judge, its format may precede the name of its model.
        if not name.startswith("openai/") or not any(text.endswith(name) for text in named):
            then = "name models as the other settings name them; only those of openai/ can go through batches"
            raise ConfigError(f"no stage asks {name!r} through a server", where="batch.models", then=then)


async def _run_stage(
    entry: StageEntry, config: BuildConfig, run: RunFolder, models: ModelFactory, screen: Screen
) -> Manifest:
    context = context_of(entry, config, run, models, screen)
    done = current_manifest(context, entry.spec)
    manifest: Manifest = done or await importlib.import_module(entry.module).run(context)
    when = "done before" if done else f"{manifest.seconds:.1f} s"
    screen.report_finished(entry.name, manifest.rows, sum(manifest.rejects.values()), when)
    return manifest


def _costs(config: BuildConfig) -> bool:
    """Whether any model may cost money."""
    return any("openai/" in text for text in texts_in(config.model_dump(mode="json")))


def write_report(run: RunFolder, manifests: list[Manifest], config: BuildConfig) -> RunSummary:
    tested = _evaluation_results(run, manifests, config)
    summary = summarize(run, manifests, config, tested)
    write_text(run.path / "summary.json", json.dumps(summary.as_json(), indent=2) + "\n")
    write_card(run, manifests, summary.models, summary.own_prompts, summary.seed)
    write_text(run.path / "report.html", render(gather(run, manifests, summary, tested)))
    return summary


def _evaluation_results(run: RunFolder, manifests: list[Manifest], config: BuildConfig) -> BeforeAfterResults | None:
    """The results of the evaluation; None if its answers are not judged yet."""
    is_judged = any(manifest.stage == JUDGEMENTS.stage for manifest in manifests)
    return results_of(read_tables(run), config.evaluation, config.seed) if config.evaluation and is_judged else None
