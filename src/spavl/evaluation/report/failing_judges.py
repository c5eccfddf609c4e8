"""Which judges failed canaries, in short for a table and one by one for the report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_MOST_NAMED = 3


class FailingJudge(NamedTuple):
    judge: str
    reported: bool
    # How many of how many it failed, in words.
    number: str
    # The names of the canaries that it failed, and a line for each: what it must say and what it said.
    names: Sequence[str]
    lines: Sequence[str]

    @property
    def short(self) -> str:
        names = list(dict.fromkeys(self.names))
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        whose = ", whose word is reported," if self.reported else ""
        return f"{self.judge}{whose} failed {self.number} canaries: {', '.join(names[:_MOST_NAMED])}{more}"


def failing_judges(results: Mapping[str, Any]) -> list[FailingJudge]:
    """Those whose word is reported first."""
    reported = {judge for by_rate in results["reported_by"].values() for judge in by_rate.values()}
    return sorted(_failing(results["canaries"], reported), key=lambda each: not each.reported)


def _failing(canaries: Mapping[str, Any], reported: set[str]) -> Iterator[FailingJudge]:
    for judge in dict.fromkeys(word["judge"] for word in canaries["failed"]):
        own = [word for word in canaries["failed"] if word["judge"] == judge]
        number = f"{len(own)} of {canaries['asked'][judge]}"
        lines = [f"{word['canary']} must {word['must']}; it said {word['said']}" for word in own]
        yield FailingJudge(judge, judge in reported, number, [word["canary"] for word in own], lines)
