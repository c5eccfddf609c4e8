"""canaries: tests every guard and judge of an evaluation on answers whose verdict is obvious, before other calls."""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from spavl.evaluation.config import CANARIES, CanariesConfig, EvaluationConfig
from spavl.evaluation.judge_assignment import by_criterion, by_guard, by_reading
from spavl.evaluation.records import Item
from spavl.evaluation.results.types import CanarySummary, FailedCanary
from spavl.judges.canaries.checks import (
    STAGE,
    Canary,
    CanaryResult,
    canaries_of_guard,
    canaries_of_judge,
    canaries_of_refusals,
    failures_told,
)
from spavl.judges.guards.criteria import criterion_in
from spavl.judges.registry import is_rules, model_of, open_guard, open_judge, open_refusal_judge
from spavl.judges.types import ModelOpener
from spavl.records import Reject
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of, seal
from spavl.stages.judge_checks import check_judges, notes_of_canary_stage
from spavl.stages.spec import StageSpec
from spavl.store import Manifest, RunFolder


async def run(context: StageContext[CanariesConfig]) -> Manifest:
    began, settings = time.monotonic(), context.settings
    context.run.forget(CANARIES.stage)
    items = list(context.run.read("items", Item))
    canaries = _canaries(settings, items, context.models.at_once())
    results = await check_judges(context, canaries, settings.canaries, f"{settings.option} warn")
    context.run.write_rows(CANARIES.stage, CanaryResult, results)
    context.run.write_rows(CANARIES.stage, Reject, [])
    context.run.ledger.seal(STAGE)
    fingerprint, notes = fingerprint_of(context, CANARIES), notes_of_canary_stage(results)
    return seal(context, CANARIES, fingerprint, {}, time.monotonic() - began, notes)


def ask_again(run: RunFolder, pending: Collection[StageSpec[Any]]) -> None:
    """Runs the canaries again if judging is not done: a judge behind a server may have changed since the last start."""
    if any(CANARIES.stage in spec.reads for spec in pending):
        run.forget(CANARIES.stage)


def canary_summary(run: RunFolder, config: EvaluationConfig) -> CanarySummary:
    """How many canaries each judge was asked, and which it failed, for the results."""
    results = list(run.read(CANARIES.stage, CanaryResult)) if config.guard or config.judge else []
    return CanarySummary(
        asked=dict(Counter(each.judge for each in results)),
        failed=tuple(_failed_canary(each) for each in results if not each.passed),
        warnings=tuple(failures_told(results)),
    )


def _failed_canary(result: CanaryResult) -> FailedCanary:
    """The failed canary without its calls, which only the ledger needs."""
    return FailedCanary(
        judge=result.judge,
        model=result.model,
        canary=result.canary,
        must=result.must,
        verdict=result.said,
        raw=result.raw,
        unread=result.unread,
    )


def _canaries(settings: CanariesConfig, items: Sequence[Item], models: ModelOpener) -> dict[str, list[Canary]]:
    """The canaries of every guard and judge that will judge answers to these items, in each form that it is used in."""
    found, judge, with_images = defaultdict[str, list[Canary]](list), settings.judge, any(item.blob for item in items)
    if any(by_guard(item) for item in items):
        for uri in settings.guard:
            found[uri] += canaries_of_guard(open_guard(uri, models, STAGE), _criteria(items), with_images)
    if judge and not is_rules(judge):
        if any(by_criterion(item) for item in items):
            named = f"criteria/{model_of(judge)}"
            found[named] += canaries_of_guard(open_guard(named, models, STAGE), _criteria(items), with_images)
        if any(by_reading(item) for item in items):
            found[judge] += canaries_of_refusals(open_refusal_judge(model_of(judge), models, STAGE), with_images)
    if judge and any("pairwise" in item.scored_by for item in items):
        found[judge] += canaries_of_judge(open_judge(judge, models, STAGE), with_images)
    return found


def _criteria(items: Iterable[Item]) -> set[str]:
    return {criterion_in(item.scored_by) for item in items} - {""}
