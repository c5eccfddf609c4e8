"""pairwise: Answer rows -> PairwiseResult rows; a judge compares each answer with the base's, in both orders."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spavl.evaluation.config import PAIRWISE, PairwiseConfig
from spavl.evaluation.judgements import CaseMaker
from spavl.evaluation.notes import PairwiseNotes
from spavl.evaluation.records import Answer, Item, PairwiseResult
from spavl.judges.empty_answers import compared_with_empty
from spavl.judges.pairwise import compare
from spavl.judges.registry import open_judge
from spavl.records import Record
from spavl.stages.context import RowResult, StageContext
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.text.degenerate import is_empty

# The base that stands for a benchmark's reference answers.
REFERENCE = "reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPair(Record):
    """An item with the answers of two models."""

    item_id: str
    model: str
    against: str
    said: str
    replied: str
    # Whether the answer is empty, and not because a server refused.
    nothing_said: bool
    nothing_replied: bool


async def run(context: StageContext[PairwiseConfig]) -> Manifest:
    items = {item.id: item for item in context.run.read("items", Item)}
    judge = open_judge(context.settings.judge, context.models, PAIRWISE.stage)
    case_of = CaseMaker(context.run)
    pairs = list(_pairs(context.run.read("answers", Answer), items, context.settings.base))

    async def work(given: AnswerPair) -> RowResult[PairwiseResult]:
        case = case_of(items[given.item_id])
        found = compared_with_empty(given.nothing_said, given.nothing_replied)
        found = found or await compare(judge, case, given.said, given.replied)
        comparison = PairwiseResult(
            item_id=given.item_id,
            model=given.model,
            against=given.against,
            harmless=found.harmless,
            helpful=found.helpful,
            votes=found.votes,
        )
        return RowResult([comparison])

    return await run_rows(context, PAIRWISE, pairs, len(pairs), work, lambda: PairwiseNotes(judge=judge.name))


def _pairs(answers: Iterable[Answer], items: dict[str, Item], base: str) -> Iterator[AnswerPair]:
    said: dict[str, dict[str, str]] = {}
    empty = set[tuple[str, str]]()
    for answer in answers:
        if answer.condition == "real" and answer.sample == 0 and "pairwise" in items[answer.item_id].scored_by:
            said.setdefault(answer.model, {})[answer.item_id] = answer.text
            if is_empty(answer.text) and answer.finish != "refused":
                empty.add((answer.model, answer.item_id))
    for model, own in said.items():
        if model == base:
            continue
        for item_id, text in own.items():
            brought = next(iter(items[item_id].references), None)
            against = brought if base == REFERENCE else said[base].get(item_id)
            if against is not None:
                yield AnswerPair(
                    item_id=item_id,
                    model=model,
                    against=base,
                    said=text,
                    replied=against,
                    nothing_said=(model, item_id) in empty,
                    nothing_replied=(base, item_id) in empty,
                )
