"""Which judges failed canaries: in short for a table, and one by one for the report."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from spavl.evaluation.results.types import CanarySummary, EvaluationResults

_MOST_NAMED = 3


class FailingJudge(NamedTuple):
    judge: str
    reported: bool
    # How many canaries it failed of how many, as text.
    number: str
    # The names of the canaries that it failed, and a line for each: the verdict it must give and the one it gave.
    names: Sequence[str]
    lines: Sequence[str]

    @property
    def short(self) -> str:
        names = list(dict.fromkeys(self.names))
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        reported = ", which is reported," if self.reported else ""
        return f"{self.judge}{reported} failed {self.number} canaries: {', '.join(names[:_MOST_NAMED])}{more}"


def failing_judges(results: EvaluationResults) -> list[FailingJudge]:
    """The judges that failed canaries, the reported ones first."""
    reported = {judge for by_metric in results.reported_by.values() for judge in by_metric.values()}
    return sorted(_failing(results.canaries, reported), key=lambda each: not each.reported)


def _failing(canaries: CanarySummary, reported: set[str]) -> Iterator[FailingJudge]:
    for judge in dict.fromkeys(each.judge for each in canaries.failed):
        own = [each for each in canaries.failed if each.judge == judge]
        number = f"{len(own)} of {canaries.asked[judge]}"
        lines = [f"{each.canary} must {each.must}; its verdict: {each.verdict}" for each in own]
        yield FailingJudge(judge, judge in reported, number, [each.canary for each in own], lines)
