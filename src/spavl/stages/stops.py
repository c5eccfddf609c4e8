"""Why a stage stops before its end, and what to type then."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from spavl.errors import GateError
from spavl.judges.canaries.checks import STAGE as CANARIES
from spavl.store import RunFolder

# Replies in a row in which nothing could be read, after which no further ones are paid.
UNREAD_IN_A_ROW = 100


class ModelRefusals(NamedTuple):
    """A model that refused, the last reason, and at how many inputs."""

    model: str
    reason: str
    inputs: int


def check_lost(stage: str, failed: int, total: int, most: float) -> None:
    """Failed inputs are written down only when they are few; until then each new start asks them again."""
    if failed > most * total:
        then = "type the same command: what is finished is kept, and only what failed is asked again"
        raise GateError(f"{failed} of {total} inputs of this stage failed at the servers asked", where=stage, then=then)


def nothing_left(stage: str, total: int, rejects: Counter[str]) -> GateError:
    """With no row at all the stages that follow would have nothing to do, and the run would seem to have gone well."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejects.most_common()) or "nothing was found"
    then = f"see tables/{stage}.rejects.parquet, change its settings by what is told there and type the command again"
    return GateError(f"not one row has come of {total} inputs: {reasons}", where=stage, then=then)


def stop_unreadable(lane: str, model: str, reply: str) -> NoReturn:
    then = "name another model, or one that answers in the form that is asked for; what is finished is kept"
    what = f"{UNREAD_IN_A_ROW} replies in a row could not be read, the last one: {reply[:200]!r}"
    raise GateError(what, where=f"{lane}, asking {model}", then=then)


def stop_refused(run: RunFolder, stage: str, lane: str, silent: Sequence[ModelRefusals]) -> NoReturn:
    for each in silent:
        # Whoever was to judge here was put to canaries before.
        for place in (stage, CANARIES):
            run.ledger.forget_rejected(place, each.model)
    model, reason, inputs = silent[0]
    then = (
        "put its cause right and type the same command: what was refused is asked again; "
        "or leave that model out, or name another: what is finished is kept"
    )
    what = f"the server refused every request ({inputs} so far): {reason}"
    raise GateError(what, where=lane if lane == model else f"{lane}, asking {model}", then=then)
