"""pairs: the verdicts on each question's answers -> Pair rows."""

import random
from collections.abc import Iterator, Sequence

from spavl.data.pairs.config import SPEC, PairsConfig
from spavl.data.pairs.notes import PairsNotes
from spavl.data.pairs.strategies import Strategy, TieredAnswer, Two, allowed_pairs, bags_of, key_of_pair
from spavl.data.pairs.tiers import measure_tiers
from spavl.records import Pair, Question, Response, Verdict
from spavl.stages.context import RowResult, StageContext, reject
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.store.question_facts import samples_in


async def run(context: StageContext[PairsConfig]) -> Manifest:
    settings = context.settings
    verdicts = context.run.lookup("verdicts", Verdict, by="question_id")
    questions = context.run.lookup("questions", Question)

    def questions_with_verdicts() -> Iterator[Question]:
        return (question for question in context.run.read("questions", Question) if question.id in verdicts)

    measured = measure_tiers(context.run.read("verdicts", Verdict), questions, settings.tier_edges)
    tier_of = {tier.model: tier.tier for tier in measured}
    bags = bags_of(tier_of)
    # Samples of one responder are often equal. `reads` needs no responses: the verdicts have the hashes of them.
    responses = context.run.lookup("responses", Response) if samples_in(context.run) > 1 else None

    async def work(question: Question) -> RowResult[Pair]:
        # A responder without a valid verdict on any harmful question has no tier.
        answers = [
            TieredAnswer(
                response_id=v.response_id,
                model=v.model,
                label=v.label,
                tier=tier_of[v.model],
                bags=bags[v.model],
                text=None if responses is None else responses[v.response_id].text,
            )
            for v in verdicts.all(question.id)
            if v.label != "invalid" and v.model in tier_of
        ]
        drawn = draw_pairs(answers, settings.strategy, settings.per_question, f"{context.seed}/{question.id}")
        if not drawn:
            return RowResult(rejects=[reject(question, "no_such_two", f"{len(answers)} readable answers")])
        return RowResult([_pair(question, first, second, strategy) for strategy, (first, second) in drawn])

    def conclude() -> PairsNotes:
        return PairsNotes(tiers=tuple(tier.as_notes() for tier in measured))

    return await run_rows(
        context, SPEC, questions_with_verdicts(), sum(1 for _ in questions_with_verdicts()), work, conclude
    )


def draw_pairs(
    answers: Sequence[TieredAnswer], strategies: Sequence[Strategy], per_question: int, seed: str
) -> list[tuple[Strategy, Two]]:
    """Sample distinct pairs of answers from all that each strategy allows; the same seed gives the same pairs."""
    rng = random.Random(seed)
    drawn: dict[frozenset[str], tuple[Strategy, Two]] = {}
    for strategy in strategies:
        new = [two for two in allowed_pairs(strategy, answers) if key_of_pair(two) not in drawn]
        for two in rng.sample(new, min(per_question, len(new))):
            # The order of the two answers must not reveal which one is safer.
            drawn[key_of_pair(two)] = strategy, two if rng.random() < 0.5 else (two[1], two[0])
    return list(drawn.values())


def _pair(question: Question, first: TieredAnswer, second: TieredAnswer, strategy: Strategy) -> Pair:
    return Pair(
        question_id=question.id,
        first=first.response_id,
        second=second.response_id,
        first_tier=first.tier,
        second_tier=second.tier,
        strategy=strategy,
    )
