"""Puts the canaries to whoever judges in a stage, before anything else is asked or paid."""

from collections.abc import Mapping, Sequence
from typing import Any

from spavl.errors import GateError
from spavl.judges.canaries.checks import Canary, CanaryResult, OnFailure, ask_canaries, failures_told, what_to_see_to
from spavl.models.types import Transient
from spavl.stages.runner import StageContext
from spavl.store import Call

# Where a judge has its word, in a run and in an evaluation.
JUDGING = ("question_verdicts", "verdicts", "preferences", "judgements", "pairwise")


async def check_judges(
    job: StageContext[Any], canaries: Mapping[str, Sequence[Canary]], on_failure: OnFailure, setting: str
) -> list[CanaryResult]:
    """What everybody said to the canaries, by the names of who is asked; `setting` is what a user types to go on.

    A failure stops the run, unless it is to be told alone. Whoever is going to judge at this start is asked at this
    start: since an earlier one another model may be served by the same name. Alone of all calls these are made again.
    """
    words = await _asked(job, canaries)
    if earlier := _of_earlier_starts(words, job):
        failed = _failed(words)
        await job.run.ledger.give_up(earlier)
        words = await _asked(job, canaries)
        if mended := failed - _failed(words):
            # What they said before, if somebody went on with their failure, is theirs no more.
            said = (call for stage in JUDGING for call in job.run.ledger.calls(stage))
            await job.run.ledger.give_up(call for call in said if call.model in mended)
    failures = failures_told(words)
    if failures and on_failure == "stop":
        weights = "see that its server has the weights and the chat template that its name says, or name another"
        go_on = f"if it is meant to judge so, go on with {setting}: the report then says which canaries it failed"
        then = f"{what_to_see_to(words, weights)}; {go_on}"
        judges = dict.fromkeys(word.judge for word in words if not word.passed)
        raise GateError("\n".join(failures_told(words, between="\n    ")), where=", ".join(judges), then=then)
    for failure in failures:
        job.screen.say(f"beware: {failure}")
    return words


def noted(words: Sequence[CanaryResult]) -> dict[str, object]:
    """For the manifest of a stage whose judges were checked: what was failed stands in the run's report."""
    return {"canaries": {"asked": len(words), "failed": failures_told(words)}}


def _of_earlier_starts(words: Sequence[CanaryResult], job: StageContext[Any]) -> list[Call]:
    ledger = job.run.ledger
    calls = [call for word in words for key in word.calls if (call := ledger.get(key))] if job.models.asks else []
    return [call for call in calls if call.at < ledger.begun]


def _failed(words: Sequence[CanaryResult]) -> set[str]:
    return {word.model for word in words if not word.passed} - {""}


async def _asked(job: StageContext[Any], canaries: Mapping[str, Sequence[Canary]]) -> list[CanaryResult]:
    """Those behind servers side by side; those in this process in turn, each leaving the memory to the next."""
    try:
        words = await ask_canaries(each for uri, own in canaries.items() if "hf/" not in uri for each in own)
        for number, own in enumerate(own for uri, own in canaries.items() if "hf/" in uri):
            if number:
                await job.models.rest()
            words += await ask_canaries(own)
    except Transient as error:
        then = "type the same command again: what was answered is kept"
        what = f"a judge could not be asked the canaries, its server fails: {error.reason}"
        raise GateError(what, where=", ".join(canaries), then=then) from None
    return words
