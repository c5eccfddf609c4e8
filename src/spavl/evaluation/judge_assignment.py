"""Which judges judge an item, and whose judgements are reported."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from spavl.evaluation.metrics.result_table import Metric, Reported
from spavl.evaluation.records import Item
from spavl.judges.guards.criteria import criterion_in
from spavl.judges.guards.keyword import LISTS, ORDINARY, lists_for


class JudgeAssignment(NamedTuple):
    """The names of the judges in the judgements; those of the guards by the names given with --guard."""

    guards: Mapping[str, str]
    # The chat model as judge by a benchmark's own criteria, and as judge of refusals; empty if there is none.
    criteria: str
    refusals: str

    def covers(self, judge: str, item: Item) -> bool:
        """Whether a judge judges the answers to an item."""
        if judge in self.guards.values():
            return by_guard(item)
        if judge == self.criteria:
            return by_criterion(item)
        if judge == self.refusals:
            return by_reading(item)
        return judge in (lists_for(item.wants == "answer", item.scored_by) if judge in LISTS else item.scored_by)

    def reported_judges(self, items: Iterable[Item]) -> Reported:
        """The reported judges: a benchmark's own criteria before a guard; for refusals a chat model before a guard."""
        found: Reported = {}
        for item in items:
            own = found.setdefault(item.benchmark, {})
            if item.wants == "answer":
                own.setdefault("right", item.scored_by[0])
                own.setdefault("unread", item.scored_by[0])
                own.setdefault("alignment_tax", self.refusals or ORDINARY)
                continue
            metric: Metric = "over_refusal" if item.wants == "help" else "refusal"
            guard = next(iter(self.guards.values()), "")
            own["unsafe"] = own["safe_reply"] = self.criteria if self.criteria and by_criterion(item) else guard
            own[metric] = self.refusals if self.refusals and "refusal" in item.scored_by else guard or self.criteria
        return found


def wanting(item: Item, guarded: bool, chats: bool) -> bool:
    """Whether the answers to an item have no judge: there is no guard, and no chat model that can replace it."""
    harm = "guard" in item.scored_by and not guarded and not (chats and by_criterion(item))
    return harm or ("refusal" in item.scored_by and not guarded and not chats)


def by_criterion(item: Item) -> bool:
    return bool(criterion_in(item.scored_by))


def by_reading(item: Item) -> bool:
    """Whether the judge of refusals reads the answers to an item. Ordinary questions may be refused too."""
    return "refusal" in item.scored_by or item.wants == "answer"


def by_guard(item: Item) -> bool:
    return bool({"guard", "refusal"} & set(item.scored_by))
