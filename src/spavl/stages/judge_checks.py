"""Asks the judges of a stage the canaries, before anything else is asked or paid."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from spavl.errors import GateError
from spavl.judges.canaries.checks import Canary, CanaryResult, OnFailure, ask_canaries, failures_told, what_to_see_to
from spavl.judges.registry import runs_here
from spavl.models.types import Transient
from spavl.stages.context import StageContext
from spavl.stages.notes import CanariesNotes, CanaryNotes
from spavl.store import Call

# The stages of a run or an evaluation that ask a judge.
JUDGING = ("question_verdicts", "verdicts", "preferences", "judgements", "pairwise")


async def check_judges(
    context: StageContext[Any], canaries: Mapping[str, Sequence[Canary]], on_failure: OnFailure, setting: str
) -> list[CanaryResult]:
    """The verdicts of all judges on the canaries; `setting` is what a user types to continue after a failure.

    A failure stops the run, or prints a warning if `on_failure` says so. Judges are asked again in each start, since
    another model may be served under the same name by now. These are the only calls that are ever made again.
    """
    results = await _ask(context, canaries)
    if earlier := _calls_of_earlier_starts(context, results):
        failed = _failed_models(results)
        await context.run.ledger.give_up(earlier)
        results = await _ask(context, canaries)
        if mended := failed - _failed_models(results):
            # The judge passes canaries that it failed before: its verdicts from that time are made again.
            earlier_verdicts = (call for stage in JUDGING for call in context.run.ledger.calls(stage))
            await context.run.ledger.give_up(call for call in earlier_verdicts if call.model in mended)
    failures = failures_told(results)
    if failures and on_failure == "stop":
        weights = "check that its server has the weights and the chat template of that name, or name another model"
        go_on = f"or continue with {setting}: the report then lists the failed canaries"
        then = f"{what_to_see_to(results, weights)}; {go_on}"
        judges = dict.fromkeys(result.judge for result in results if not result.passed)
        raise GateError("\n".join(failures_told(results, between="\n    ")), where=", ".join(judges), then=then)
    for failure in failures:
        context.screen.say(f"warning: {failure}")
    return results


def notes_of_canary_stage(results: Sequence[CanaryResult]) -> CanariesNotes:
    """The notes of a stage that only does this check."""
    return CanariesNotes(canaries=canary_notes(results))


def canary_notes(results: Sequence[CanaryResult]) -> CanaryNotes:
    """What a stage notes about the check of its judges; the run's report lists the failed canaries."""
    return CanaryNotes(asked=len(results), failed=tuple(failures_told(results)))


def _calls_of_earlier_starts(context: StageContext[Any], results: Sequence[CanaryResult]) -> list[Call]:
    ledger = context.run.ledger
    if not context.models.asks:
        return []
    calls = (call for result in results for key in result.calls if (call := ledger.get(key)))
    return [call for call in calls if call.at < ledger.begun]


def _failed_models(results: Sequence[CanaryResult]) -> set[str]:
    return {result.model for result in results if not result.passed} - {""}


async def _ask(context: StageContext[Any], canaries: Mapping[str, Sequence[Canary]]) -> list[CanaryResult]:
    """Ask judges behind servers concurrently. Those in this process run one by one, each unloaded before the next."""
    try:
        results = await ask_canaries(each for uri, own in canaries.items() if not runs_here(uri) for each in own)
        for number, own in enumerate(own for uri, own in canaries.items() if runs_here(uri)):
            if number:
                await context.models.rest()
            results += await ask_canaries(own)
    except Transient as error:
        then = "type the same command again: finished calls are kept"
        what = f"the canaries could not be judged, because a server failed: {error.reason}"
        raise GateError(what, where=", ".join(canaries), then=then) from None
    # The terminal, the notes and the card quote what a judge said.
    filtered = context.privacy.without_finds
    return [replace(result, said=filtered(result.said), raw=filtered(result.raw)) for result in results]
