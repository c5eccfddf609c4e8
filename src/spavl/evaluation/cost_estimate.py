"""The dry run of an evaluation: its stages run in a temporary folder, with models that only count requests."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem
from spavl.evaluation.config import (
    ANSWERS,
    AS_PUBLISHED,
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
# The expected words of a reply: two paragraphs for an answer, three lines for a guard, seven for a judge; a published
# protocol asks for one word or for an explanation.
_WORDS = {
    ITEMS.stage: 0,
    CANARIES.stage: 8,
    ANSWERS.stage: 150,
    JUDGEMENTS.stage: 8,
    PAIRWISE.stage: 25,
    AS_PUBLISHED.stage: 25,
}


async def estimate_evaluation(config: EvaluationConfig, out: Path) -> tuple[CostEstimate, list[str]]:
    """The calls that are left and their cost, and which differences the evaluation could find."""
    config = resolve_evaluation_config(config)
    check_evaluation(config, [stage.spec for stage in stages_of_evaluation(config)])
    found = [(placed.benchmark, found_in(placed, config.limit)) for placed in placed_benchmarks(config)]
    sizes = {benchmark.name: len(items) for benchmark, items in found}
    with RunFolder(out, look_only=True) as run:
        likely = await _count_calls(config, sizes, run, "likely", LengthEvidence())
        if (evidence := LengthEvidence.of(likely.tallies)) != LengthEvidence():
            likely = await _count_calls(config, sizes, run, "likely", evidence)
        most = await _count_calls(config, sizes, run, "most", LengthEvidence())
        spent = run.ledger.totals()["usd"] + run.ledger.usd_lost()
    lines = [CostLine(*place, tally, most.tallies[place]) for place, tally in likely.tallies.items()]
    power_items = (each for benchmark, items in found for each in _power_items(benchmark, items, bool(config.judge)))
    return CostEstimate(lines, [], spent, []), list(what_can_be_found(power_items))


def _power_items(benchmark: Benchmark, found: Sequence[BenchmarkItem], has_judge: bool) -> Iterator[PowerItem]:
    """What the power estimate needs of each item. Images are read, since items with equal ones are one cluster."""
    images = [sha256(each.image()).hexdigest() if each.image and benchmark.by_image else "" for each in found]
    for each, cluster in zip(found, clusters_of(found, images), strict=True):
        yield PowerItem(benchmark.name, each.wants, cluster, has_judge and "pairwise" in each.scored_by)


async def _count_calls(
    config: EvaluationConfig, sizes: Mapping[str, int], run: RunFolder, case: Case, evidence: LengthEvidence
) -> CostCountingFactory:
    """Run the stages on at most `_ITEMS_OF_EACH` items of each benchmark, of which `sizes` is the number of all."""
    servers = config.servers
    batched, own = servers.batch.models, config.model_settings
    models = CostCountingFactory(run.ledger, servers.prices, case, evidence, batched, own, servers.pace)
    for name, size in sizes.items():
        few = min(size, _ITEMS_OF_EACH)
        one = config.model_copy(update={"suite": (name,), "limit": few, "canaries": "warn"})
        with tempfile.TemporaryDirectory(prefix="spavl-") as folder, RunFolder(Path(folder) / "evaluation") as made:
            for stage in stages_of_evaluation(one):
                if stage.spec is OVERLAPS:
                    continue
                times = 1.0 if stage.spec is CANARIES else size / few
                counting = models.with_weight(times, _WORDS[stage.spec.stage])
                await stage.run(
                    StageContext(made, stage.settings, config.seed, counting, Screen(quiet=True), servers.in_flight)
                )
    return models
