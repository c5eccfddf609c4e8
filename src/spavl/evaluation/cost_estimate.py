"""The dry run of an evaluation: its stages run in a temporary folder, with models that only count requests."""

import tempfile
from hashlib import sha256
from pathlib import Path

from spavl.evaluation.config import (
    ANSWERS,
    CANARIES,
    ITEMS,
    JUDGEMENTS,
    OVERLAPS,
    PAIRWISE,
    EvaluationConfig,
    resolve_evaluation_config,
)
from spavl.evaluation.items import clusters_of, found_in, placed_benchmarks
from spavl.evaluation.metrics.power import PowerItem, what_can_be_found
from spavl.evaluation.runner import check_evaluation, stages_of_evaluation
from spavl.models.backends.dry_run import Case, CostCountingFactory, LengthEvidence
from spavl.stages.context import StageContext
from spavl.stages.cost_model import CostEstimate, CostLine
from spavl.store import RunFolder
from spavl.terminal.progress import Screen

# Larger benchmarks are estimated from this number of items.
_ITEMS_OF_EACH = 1000
# The expected words of a reply: two paragraphs for an answer, three lines for a guard, seven for a judge.
_WORDS = {ITEMS.stage: 0, CANARIES.stage: 8, ANSWERS.stage: 150, JUDGEMENTS.stage: 8, PAIRWISE.stage: 25}


async def estimate_evaluation(config: EvaluationConfig, out: Path) -> tuple[CostEstimate, list[str]]:
    """The calls that are left and their cost, and which differences the evaluation could find."""
    config = resolve_evaluation_config(config)
    check_evaluation(config, [stage.spec for stage in stages_of_evaluation(config)])
    with RunFolder(out, look_only=True) as run:
        likely, told = await _walk(config, run, "likely", LengthEvidence())
        if (evidence := LengthEvidence.of(likely.tallies)) != LengthEvidence():
            likely, told = await _walk(config, run, "likely", evidence)
        most, _ = await _walk(config, run, "most", LengthEvidence())
        spent = run.ledger.totals()["usd"] + run.ledger.usd_lost()
    lines = [CostLine(*place, tally, most.tallies[place]) for place, tally in likely.tallies.items()]
    return CostEstimate(lines, [], spent, []), told


async def _walk(
    config: EvaluationConfig, run: RunFolder, case: Case, evidence: LengthEvidence
) -> tuple[CostCountingFactory, list[str]]:
    servers = config.servers
    batched, own = servers.batch.models, config.model_settings
    models = CostCountingFactory(run.ledger, servers.prices, case, evidence, batched, own, servers.pace)
    asked = list[PowerItem]()
    for placed in placed_benchmarks(config):
        found = found_in(placed, config.limit)
        name = placed.benchmark.name
        shown = [sha256(each.image()).hexdigest() if each.image and placed.benchmark.by_image else "" for each in found]
        for each, cluster in zip(found, clusters_of(found, shown), strict=True):
            compared = bool(config.judge) and "pairwise" in each.scored_by
            asked.append(PowerItem(name, each.wants, cluster, compared))
        few = min(len(found), _ITEMS_OF_EACH)
        one = config.model_copy(update={"suite": (placed.benchmark.name,), "limit": few, "canaries": "warn"})
        with tempfile.TemporaryDirectory(prefix="spavl-") as folder, RunFolder(Path(folder) / "evaluation") as made:
            for stage in stages_of_evaluation(one):
                if stage.spec is OVERLAPS:
                    continue
                times = 1.0 if stage.spec is CANARIES else len(found) / few
                counting = models.with_weight(times, _WORDS[stage.spec.stage])
                await stage.run(
                    StageContext(made, stage.settings, config.seed, counting, Screen(quiet=True), servers.in_flight)
                )
    return models, list(what_can_be_found(asked))
