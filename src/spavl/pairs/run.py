"""pairs: the verdicts on each question's answers -> Pair rows."""

import random
from collections.abc import Sequence
from itertools import combinations

from spavl.pairs.config import PLAN, PairsConfig
from spavl.pairs.tiers import measure_tiers
from spavl.records import Pair, Question, Verdict
from spavl.stage import Job, Made, reject, run_rows
from spavl.store import Manifest


async def run(job: Job[PairsConfig]) -> Manifest:
    settings = job.settings
    answers: dict[str, list[Verdict]] = {}
    for verdict in job.run.read("verdicts", Verdict):
        answers.setdefault(verdict.question_id, []).append(verdict)
    questions = [question for question in job.run.read("questions", Question) if question.id in answers]
    harmful = {question.id for question in questions if question.harmful}
    measured = measure_tiers((v for group in answers.values() for v in group), harmful, settings.tier_edges)
    tier_of = {tier.model: tier.tier for tier in measured}

    async def work(question: Question) -> Made[Pair]:
        # A responder without one readable answer to a harmful question stands on no tier.
        usable = [v for v in answers[question.id] if v.label != "invalid" and v.model in tier_of]
        rng = random.Random(f"{job.seed}/{question.id}")
        drawn = draw_pairs(usable, tier_of, settings, rng)
        if not drawn:
            return Made(rejects=[reject(question, "no_two_tiers", f"{len(usable)} readable answers")])
        return Made([_pair(question, first, second, tier_of, settings.strategy) for first, second in drawn])

    return await run_rows(
        job, PLAN, questions, len(questions), work, lambda: {"tiers": [tier.as_note() for tier in measured]}
    )


def draw_pairs(
    answers: Sequence[Verdict], tier_of: dict[str, int], settings: PairsConfig, rng: random.Random
) -> list[tuple[Verdict, Verdict]]:
    """Distinct pairs of answers by the strategy, at random among all that it allows."""
    allowed = [
        (first, second)
        for first, second in combinations(answers, 2)
        if settings.strategy == "random" or tier_of[first.model] != tier_of[second.model]
    ]
    drawn = rng.sample(allowed, min(settings.per_question, len(allowed)))
    # Which one stands first must say nothing about which one is safer.
    return [pair if rng.random() < 0.5 else (pair[1], pair[0]) for pair in drawn]


def _pair(question: Question, first: Verdict, second: Verdict, tier_of: dict[str, int], strategy: str) -> Pair:
    return Pair(
        question_id=question.id,
        first=first.response_id,
        second=second.response_id,
        first_tier=tier_of[first.model],
        second_tier=tier_of[second.model],
        strategy=strategy,
    )
