"""preferences: Pair rows -> Preference rows. Ties, inconsistent and blocked outcomes are kept with their votes."""

import asyncio
from collections import Counter
from collections.abc import Iterable

from spavl.data.preferences.config import SPEC, PreferencesConfig
from spavl.data.preferences.judge_bias import JudgedPair, agreement, trust_in
from spavl.data.preferences.notes import PreferencesNotes
from spavl.data.preferences.repairs import Winner, repair, unsafe_rates
from spavl.judges.canaries.checks import STAGE, canaries_of_judge
from spavl.judges.judge_inputs import case_about
from spavl.judges.pairwise import PairwiseComparison, compare, overall_of
from spavl.judges.registry import open_judge
from spavl.judges.types import Judge
from spavl.models.types import ImageData
from spavl.records import Contrast, Image, Pair, Preference, Question, Response, Verdict
from spavl.stages.context import RowResult, StageContext, reject
from spavl.stages.judge_checks import canary_notes, check_judges
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.store.question_facts import categories_in

# What a pair teaches, by whether its winner is the more harmless and the more helpful one in both orders.
_CONTRASTS: dict[tuple[bool, bool], Contrast] = {
    (True, True): "both",
    (True, False): "safety",
    (False, True): "helpfulness",
    (False, False): "unknown",
}


async def run(context: StageContext[PreferencesConfig]) -> Manifest:
    settings = context.settings
    judge = open_judge(settings.judge, context.models, SPEC.stage)
    second = open_judge(settings.second_judge, context.models, SPEC.stage) if settings.second_judge else None
    named = dict.fromkeys(filter(None, (settings.judge, settings.second_judge)))
    canaries = {uri: canaries_of_judge(open_judge(uri, context.models.at_once(), STAGE)) for uri in named}
    words = await check_judges(context, canaries, settings.canaries, "--preferences.canaries warn")
    images, questions = context.run.lookup("selection", Image), context.run.lookup("questions", Question)
    answers, categories = context.run.lookup("responses", Response), categories_in(context.run)
    verdicts = context.run.lookup("verdicts", Verdict, by="question_id")
    rates = unsafe_rates(context.run.read("verdicts", Verdict))

    async def work(pair: Pair) -> RowResult[Preference]:
        question = questions[pair.question_id]
        if settings.judge_both_unsafe is False and both_unsafe(pair, verdicts.all(question.id)):
            return RowResult(rejects=[reject(pair, "both_unsafe")])
        image = images[question.image_id]
        case = case_about(question, image, ImageData(image.blob, context.run.blobs.get(image.blob)), categories)
        one, two = answers[pair.first].text, answers[pair.second].text
        first, other = await asyncio.gather(
            compare(judge, case, one, two), _no_opinion() if second is None else compare(second, case, one, two)
        )
        judged = winner_of(pair, first)
        winner = judged and repair(settings.repair, judged, verdicts.all(question.id), rates)
        mended = settings.repair if winner != judged else None
        return RowResult([_preference(pair, judge, first, winner, mended, second, other)])

    def conclude() -> PreferencesNotes:
        pairs, judged = context.run.lookup("pairs", Pair), []
        repaired: Counter[str] = Counter()
        for preference in context.run.read(SPEC.stage, Preference):
            pair = pairs[preference.pair_id]
            harm = {verdict.response_id: _harm(verdict) for verdict in verdicts.all(pair.question_id)}
            judged.append(
                JudgedPair(
                    overall=preference.overall,
                    second_overall=preference.second_overall,
                    votes=tuple(overall_of(vote) for vote in preference.votes),
                    image_id=questions[pair.question_id].image_id,
                    longer_by=len(answers[pair.first].text) - len(answers[pair.second].text),
                    safer_by=harm[pair.second] - harm[pair.first],
                )
            )
            repaired[preference.repair or "none"] += 1
        return PreferencesNotes(
            judge=judge.name,
            second_judge=second.name if second else None,
            outcomes=dict(Counter(each.overall for each in judged)),
            repaired=repaired.total() - repaired["none"],
            trust=trust_in(judged).as_notes(),
            canaries=canary_notes(words),
            agreement=agreement(judged) if second else None,
        )

    pairs, total = context.run.read("pairs", Pair), context.run.count("pairs", Pair)
    return await run_rows(context, SPEC, pairs, total, work, conclude, must_be_read=True)


def both_unsafe(pair: Pair, verdicts: Iterable[Verdict]) -> bool:
    """Whether the guard found both answers unsafe: then neither should be trained on, whichever is better."""
    labels = {verdict.response_id: verdict.label for verdict in verdicts}
    return labels.get(pair.first) == labels.get(pair.second) == "unsafe"


def _harm(verdict: Verdict) -> int:
    """The severity of an unsafe answer, or 1 if the guard gives none; 0 for any other answer."""
    return 0 if verdict.label != "unsafe" else verdict.severity or 1


async def _no_opinion() -> None:
    return None


def winner_of(pair: Pair, comparison: PairwiseComparison) -> Winner | None:
    """The winner if both orders agree on one, with what both agree that it is better at; else None."""
    if comparison.overall not in ("win", "loss"):
        return None
    won = comparison.overall
    chosen, rejected = (pair.first, pair.second) if won == "win" else (pair.second, pair.first)
    return Winner(chosen, rejected, _CONTRASTS[comparison.harmless == won, comparison.helpful == won])


def _preference(
    pair: Pair,
    judge: Judge,
    comparison: PairwiseComparison,
    winner: Winner | None,
    mended: str | None,
    second: Judge | None,
    other: PairwiseComparison | None,
) -> Preference:
    harm, help_ = comparison.harm or (None, None), comparison.help or (None, None)
    return Preference(
        pair_id=pair.id,
        question_id=pair.question_id,
        harmless=comparison.harmless,
        helpful=comparison.helpful,
        overall=comparison.overall,
        first_harm=harm[0],
        second_harm=harm[1],
        first_help=help_[0],
        second_help=help_[1],
        chosen=winner.chosen if winner else None,
        rejected=winner.rejected if winner else None,
        contrast=winner.contrast if winner else None,
        repair=mended,
        judge=judge.name,
        votes=comparison.votes,
        second_judge=second.name if second else None,
        second_overall=other.overall if other else None,
        second_votes=other.votes if other else (),
    )
