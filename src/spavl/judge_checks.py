"""Puts the canaries to whoever judges in a stage, before anything else is asked or paid."""

from collections.abc import Mapping, Sequence
from typing import Any

from spavl.errors import GateError
from spavl.judges.canaries import STAGE, Canary, CanaryWord, OnFailure, ask_canaries, failures_told
from spavl.models.types import Transient
from spavl.stage import Job


async def check_judges(
    job: Job[Any], canaries: Mapping[str, Sequence[Canary]], on_failure: OnFailure, setting: str
) -> list[CanaryWord]:
    """What everybody said to the canaries, by the names of who is asked; `setting` is what a user types to go on.

    A failure stops the run, unless it is to be told alone. What was said is then taken back from the ledger, since
    a server may be put right behind the same name; otherwise the calls are kept and paid once.
    """
    words = await _asked(job, canaries)
    failures = failures_told(words)
    if failures and on_failure == "stop":
        await job.run.ledger.give_up(STAGE)
        then = (
            "see that its server has the weights and the chat template that its name says, or name another; "
            f"if it is meant to judge so, go on with {setting}: the report then says which canaries it failed"
        )
        raise GateError("\n".join(failures_told(words, between="\n    ")), where=", ".join(canaries), then=then)
    for failure in failures:
        job.screen.say(f"beware: {failure}")
    return words


def noted(words: Sequence[CanaryWord]) -> dict[str, object]:
    """For the manifest of a stage whose judges were checked: what was failed stands in the run's report."""
    return {"canaries": {"asked": len(words), "failed": failures_told(words)}}


async def _asked(job: Job[Any], canaries: Mapping[str, Sequence[Canary]]) -> list[CanaryWord]:
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
