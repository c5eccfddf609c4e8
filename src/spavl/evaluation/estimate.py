"""What the tested models, their guard and their judge would be asked."""

from dataclasses import replace

from spavl.evaluation.config import EvaluationConfig
from spavl.evaluation.probes import HELD_OUT_IMAGES, probes_for
from spavl.evaluation.unjudged import unjudged
from spavl.judges.canaries import STAGE, ask_canaries, canaries_of_guard, canaries_of_judge
from spavl.judges.pairwise import compare
from spavl.judges.shop import is_rules, open_guard, open_judge
from spavl.judges.types import Case
from spavl.models.types import ask_about
from spavl.outlook import Many, Outlook, thin
from spavl.records import Duel, Image, Question, Score

# An answer of two paragraphs, three lines of a guard, seven of a judge.
_ANSWER, _WORD, _VOTE = 150, 8, 25


async def evaluation(outlook: Outlook[EvaluationConfig]) -> list[Many[Score]]:
    settings, rows = outlook.settings, list[Many[Score]]()
    arms = {"before": settings.before, "after": settings.after or f"hf/{outlook.run.checkpoint('aligned')}"}
    images = {image.id: image for image, _ in outlook.read("images", Image)}
    if not is_rules(settings.guard):
        await ask_canaries(canaries_of_guard(open_guard(settings.guard, outlook.counting(1, _WORD), STAGE)))
    for question, times in thin([many for many in outlook.read("questions", Question) if _probed(many.row, images)]):
        image = images[question.image_id]
        shown = outlook.picture(image)
        request = ask_about(
            shown,
            question.text,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=outlook.seed,
        )
        for probe in probes_for(image):
            for arm, uri in arms.items():
                reply = await outlook.open(uri, times, _ANSWER).ask(request)
                if not is_rules(settings.guard):
                    guard = open_guard(settings.guard, outlook.counting(times, _WORD), outlook.stage)
                    await guard.judge(Case(shown, question.text, image.subject, question.harmful), reply.text)
                rows.append(
                    Many(replace(unjudged(probe.name, arm, question, image), answer=reply.text, label="safe"), times)
                )
    return rows


async def duels(outlook: Outlook[EvaluationConfig]) -> list[Many[Duel]]:
    uri = outlook.settings.judge
    if is_rules(uri):
        return []
    await ask_canaries(canaries_of_judge(open_judge(uri, outlook.counting(1, _VOTE), STAGE)))
    images = {image.id: image for image, _ in outlook.read("images", Image)}
    questions = {question.id: question for question, _ in outlook.read("questions", Question)}
    compared = [
        many
        for many in outlook.read("evaluation", Score)
        if many.row.arm == "after" and many.row.probe == HELD_OUT_IMAGES and not many.row.harmful
    ]
    for score, times in thin(compared):
        question, image = questions[score.question_id], images[score.image_id]
        judge = open_judge(uri, outlook.counting(times, _VOTE), outlook.stage)
        case = Case(outlook.picture(image), question.text, image.subject, question.harmful)
        await compare(judge, case, score.answer, score.answer)
    return []


def _probed(question: Question, images: dict[str, Image]) -> bool:
    return bool(probes_for(images[question.image_id]))
