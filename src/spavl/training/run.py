"""training: Sample rows -> an aligned checkpoint, in the form it was loaded from, and its curve."""

import shutil
import time
from pathlib import Path
from typing import Any

from spavl.errors import TrainingError
from spavl.models.hf import checkpoint_name, load_checkpoint
from spavl.models.shop import checkpoint_path
from spavl.records import Reject, Sample, TrainingStep
from spavl.stage import Job, fingerprint_of, seal
from spavl.store import Manifest
from spavl.store.cache import cache_folder
from spavl.training.config import PLAN, TrainingConfig
from spavl.training.dpo import DPO
from spavl.training.loop import train
from spavl.training.policy import freeze_vision, trainable_parameters
from spavl.training.reference import ReferenceCache


async def run(job: Job[TrainingConfig]) -> Manifest:
    began = time.monotonic()
    fingerprint = fingerprint_of(job, PLAN)
    job.run.forget(PLAN.stage)
    samples = [sample for sample in job.run.read("dataset", Sample) if sample.split == "train"]
    if not samples:
        then = "build more pairs: raise images.per_leaf"
        raise TrainingError("the data set has no rows to train on", where=str(job.run.path), then=then)
    path = checkpoint_path(job.settings.model)
    processor, model = load_checkpoint(path, dtype="float32")
    freeze_vision(model)
    # Dropout would make the policy differ from its reference before the first step; DPO does without.
    model.eval()
    cache = ReferenceCache(cache_folder() / "references.sqlite", f"{checkpoint_name(path)} float32")
    dpo = DPO(model, processor, samples, job.run.blobs.get, job.settings, job.seed, cache)
    found = len(dpo.reference)
    steps = _train(job, dpo, model, fingerprint)
    cache.close()
    _save(job.run.checkpoint("dpo"), model, processor)
    job.run.write_rows(PLAN.stage, TrainingStep, steps)
    job.run.write_rows(PLAN.stage, Reject, [])
    notes: dict[str, object] = {
        "pairs": len(samples),
        "trained_parameters": trainable_parameters(model),
        "references_from_cache": found,
    }
    manifest = seal(job, PLAN, fingerprint, {}, time.monotonic() - began, notes)
    job.run.clear_states(PLAN.stage)
    return manifest


def _train(job: Job[TrainingConfig], dpo: DPO, model: Any, fingerprint: str) -> list[TrainingStep]:
    batches = -(-len(dpo.unscored) // job.settings.pairs_per_step)
    with job.screen.bar("reference", batches, unit="batches") as bar:
        for _ in dpo.score_reference():
            bar.advance()
    state = job.run.state_path(PLAN.stage, fingerprint)
    steps: list[TrainingStep] = []
    with job.screen.bar(PLAN.stage, dpo.steps, unit="steps") as bar:
        for step in train(model, dpo.batch_at, dpo.objective, dpo.steps, job.settings.loop, state):
            steps.append(TrainingStep(step=step.number, **step.metrics))
            bar.advance(f"loss {steps[-1].loss:.3f}  accuracy {steps[-1].accuracy:.2f}")
    return steps


def _save(folder: Path, model: Any, processor: Any) -> None:
    """Write beside the old checkpoint and then take its name, so that a half-written one is never loaded."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    processor.save_pretrained(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
