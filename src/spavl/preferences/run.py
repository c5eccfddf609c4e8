"""preferences: Pair -> Preference rows. Ties, inconsistent and blocked verdicts are kept with their votes."""

from collections import Counter
from typing import NamedTuple

from spavl.judges.pairwise import Comparison, compare
from spavl.judges.shop import open_judge
from spavl.judges.types import Case
from spavl.models.types import Picture
from spavl.preferences.config import PLAN, PreferencesConfig
from spavl.records import Contrast, Image, Pair, Preference, Question, Response
from spavl.stage import Job, Made, run_rows
from spavl.store import Manifest


async def run(job: Job[PreferencesConfig]) -> Manifest:
    judge = open_judge(job.settings.judge, job.models, PLAN.stage)
    images = {image.id: image for image in job.run.read("images", Image)}
    questions = {question.id: question for question in job.run.read("questions", Question)}
    answers = {response.id: response.text for response in job.run.read("responses", Response)}
    pairs = list(job.run.read("pairs", Pair))

    async def work(pair: Pair) -> Made[Preference]:
        question = questions[pair.question_id]
        image = images[question.image_id]
        case = Case(
            picture=Picture(image.blob, job.run.blobs.get(image.blob)),
            question=question.text,
            subject=image.subject,
            harmful=question.harmful,
        )
        comparison = await compare(judge, case, answers[pair.first], answers[pair.second])
        return Made([_preference(pair, comparison, judge.name)])

    return await run_rows(job, PLAN, pairs, len(pairs), work, lambda: _count_outcomes(job))


def _count_outcomes(job: Job[PreferencesConfig]) -> dict[str, object]:
    return {"outcomes": dict(Counter(preference.overall for preference in job.run.read(PLAN.stage, Preference)))}


class Winner(NamedTuple):
    chosen: str
    rejected: str
    contrast: Contrast


def winner_of(pair: Pair, comparison: Comparison) -> Winner | None:
    """The better answer, if both orders agree on one, and what it is better at."""
    if comparison.overall not in ("win", "loss"):
        return None
    won = comparison.overall
    chosen, rejected = (pair.first, pair.second) if won == "win" else (pair.second, pair.first)
    safer, kinder = comparison.harmless == won, comparison.helpful == won
    return Winner(chosen, rejected, "both" if safer and kinder else "safety" if safer else "helpfulness")


def _preference(pair: Pair, comparison: Comparison, judge: str) -> Preference:
    winner = winner_of(pair, comparison)
    return Preference(
        pair_id=pair.id,
        question_id=pair.question_id,
        harmless=comparison.harmless,
        helpful=comparison.helpful,
        overall=comparison.overall,
        chosen=winner.chosen if winner else None,
        rejected=winner.rejected if winner else None,
        contrast=winner.contrast if winner else None,
        judge=judge,
        votes=comparison.votes,
    )
