"""What failed in a stage: which inputs are tried again, and when the stage stops.

A failure is written to the journal only when it is known whether the single input or the whole stream is at fault.
Until then a new start of the stage tries the input again.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, NoReturn

from spavl.errors import GateError
from spavl.judges.canaries.checks import STAGE as CANARIES
from spavl.models.call_outcomes import CallOutcomes
from spavl.stages.context import In, Out, RowResult
from spavl.store import RunFolder

# A stream stops when more inputs than this have failed, or were refused by a model that never answered.
_MAX_FAILURES = 100
# A stream stops after this many replies of one model in a row that cannot be parsed.
_MAX_UNREADABLE_IN_A_ROW = 100


class StreamInput(NamedTuple, Generic[In]):
    """An input of one stream, by the number of the stream, with its position among the inputs of the whole stage."""

    stream: int
    position: int
    record: In


class Attempt(NamedTuple, Generic[Out]):
    """The result of one try of an input, and how the models answered in it."""

    result: RowResult[Out]
    outcomes: CallOutcomes


class FailedInput(NamedTuple, Generic[In, Out]):
    """An input that failed, and the result of its last try."""

    given: StreamInput[In]
    result: RowResult[Out]

    @property
    def reason(self) -> str:
        """Why its last try failed."""
        return next((reject.detail or reject.reason for reject in self.result.rejects), "no reason is known")


class ModelRefusals(NamedTuple):
    """A model that refused requests: the reason of the last refusal, and the number of inputs."""

    model: str
    reason: str
    inputs: int


class UnreadableReplies(NamedTuple):
    """A model whose replies could not be parsed: how many in a row, and the last one."""

    model: str
    in_a_row: int
    last: str


class PendingFailures(Generic[In, Out]):
    """The failures of one stream that are not yet written to the journal.

    A model is silent if it refused requests and answered none, in this start or an earlier one: its server takes
    nothing at all.
    """

    def __init__(self, answered: set[str], must_be_read: bool, max_failed: float) -> None:
        self.answered = answered
        self._must_be_read, self._max_failed = must_be_read, max(_MAX_FAILURES, max_failed)
        self.failed: list[FailedInput[In, Out]] = []
        self.refused: list[FailedInput[In, Out]] = []
        self._refusals: dict[str, ModelRefusals] = {}
        self._unreadable: dict[str, UnreadableReplies] = {}

    def hold(self, given: StreamInput[In], attempt: Attempt[Out]) -> bool:
        """Count the outcomes of an attempt. Keep the input and return True if it failed and may be tried again."""
        outcomes, failed = attempt.outcomes, FailedInput(given, attempt.result)
        self._count_unreadable(outcomes)
        self.answered |= outcomes.answered
        if attempt.result.may_be_retried:
            self.failed.append(failed)
            return True
        silent = outcomes.refused.keys() - self.answered
        for model in silent:
            earlier = self._refusals.get(model, ModelRefusals(model, "", 0))
            self._refusals[model] = ModelRefusals(model, outcomes.refused[model], earlier.inputs + 1)
        if silent:
            self.refused.append(failed)
        return bool(silent)

    def _count_unreadable(self, outcomes: CallOutcomes) -> None:
        for model, reply in outcomes.unread_of.items():
            earlier = self._unreadable.get(model, UnreadableReplies(model, 0, ""))
            self._unreadable[model] = UnreadableReplies(model, earlier.in_a_row + 1, reply)
        for model in outcomes.read_of:
            self._unreadable.pop(model, None)

    def take_failed(self) -> list[FailedInput[In, Out]]:
        """The inputs to try once more; none if the stream has to stop."""
        if self.must_stop():
            return []
        failed, self.failed = self.failed, []
        return failed

    def silent_models(self) -> list[ModelRefusals]:
        """The models that refused and never answered, most refusals first."""
        found = [refusals for model, refusals in self._refusals.items() if model not in self.answered]
        return sorted(found, key=lambda refusals: -refusals.inputs)

    def unreadable_model(self) -> UnreadableReplies | None:
        """The model that stops the stream because its replies cannot be parsed."""
        if not self._must_be_read:
            return None
        found = (replies for replies in self._unreadable.values() if replies.in_a_row >= _MAX_UNREADABLE_IN_A_ROW)
        return next(found, None)

    def must_stop(self) -> bool:
        """Whether so much failed that no further input is tried."""
        is_refused = any(refusals.inputs > _MAX_FAILURES for refusals in self.silent_models())
        return is_refused or self.unreadable_model() is not None or len(self.failed) > self._max_failed


def stop_refused(run: RunFolder, stage: str, stream: str, silent: Sequence[ModelRefusals]) -> NoReturn:
    """Stop, and forget the refusals, so that the next start asks again."""
    for each in silent:
        # A judge of this stage was asked the canaries before.
        for asked_in in (stage, CANARIES):
            run.ledger.forget_rejected(asked_in, each.model)
    model, reason, inputs = silent[0]
    then = (
        "correct the cause and type the same command: refused requests are sent again; "
        "or leave out that model, or name another one: finished inputs are kept"
    )
    what = f"the server refused every request ({inputs} so far): {reason}"
    raise GateError(what, where=stream if stream == model else f"{stream}, asking {model}", then=then)


def stop_unreadable(stream: str, replies: UnreadableReplies) -> NoReturn:
    then = "name another model, or one that answers in the requested format; finished inputs are kept"
    what = f"{_MAX_UNREADABLE_IN_A_ROW} replies in a row could not be read, the last one: {replies.last[:200]!r}"
    raise GateError(what, where=f"{stream}, asking {replies.model}", then=then)


def check_failed(stream: str, failed: Sequence[FailedInput[Any, Any]], total: int, max_failed_fraction: float) -> None:
    """Stop if more inputs failed than the stage may lose."""
    if len(failed) > max_failed_fraction * total:
        ((reason, _),) = Counter(each.reason for each in failed).most_common(1)
        what = f"{len(failed)} of {total} inputs failed because a server did not answer as it should: {reason}"
        then = "type the same command: finished inputs are kept, and failed ones are tried again"
        raise GateError(what, where=stream, then=then)


def no_rows(stage: str, total: int, rejects: Counter[str]) -> GateError:
    """Without a row the later stages have nothing to do, and the run would seem to have succeeded."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in rejects.most_common()) or "nothing was found"
    then = f"read the reasons in tables/{stage}.rejects.parquet, change the settings and type the command again"
    return GateError(f"the stage produced 0 rows from {total} inputs: {reasons}", where=stage, then=then)
