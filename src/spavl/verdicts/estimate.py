"""What the guard would be asked."""

from spavl.judges.canaries import STAGE, ask_canaries, canaries_of_guard, canaries_of_questions
from spavl.judges.shop import is_rules, open_guard
from spavl.judges.types import Case
from spavl.outlook import Many, Outlook, thin
from spavl.records import Image, Question, Response, Verdict
from spavl.verdicts.config import VerdictsConfig

# Up to three lines of two words.
_WORDS = 8


async def verdicts(outlook: Outlook[VerdictsConfig]) -> list[Many[Verdict]]:
    uri = outlook.settings.guard
    images = {image.id: image for image, _ in outlook.read("images", Image)}
    questions = {question.id: question for question, _ in outlook.read("questions", Question)}
    rows: list[Many[Verdict]] = []
    for response, times in thin(outlook.read("responses", Response)):
        if not is_rules(uri):
            question = questions[response.question_id]
            image = images[question.image_id]
            case = Case(outlook.picture(image), question.text, image.subject, question.harmful)
            guard = open_guard(uri, outlook.counting(times, _WORDS), outlook.stage)
            await guard.judge(case, response.text)
        verdict = Verdict(
            response_id=response.id,
            question_id=response.question_id,
            model=response.model,
            label="safe",
            severity=None,
            hazards=(),
            refused=False,
            prompt_label=None,
            guard=uri,
            raw="",
        )
        rows.append(Many(verdict, times))
    if not is_rules(uri):
        trial = open_guard(uri, outlook.counting(1, _WORDS), STAGE)
        await ask_canaries([*canaries_of_guard(trial), *canaries_of_questions(trial)])
        # Each question is judged once, however many answers it has.
        answered = {response.question_id for response, _ in outlook.read("responses", Response)}
        for question, times in thin([many for many in outlook.read("questions", Question) if many.row.id in answered]):
            image = images[question.image_id]
            case = Case(outlook.picture(image), question.text, image.subject, question.harmful)
            guard = open_guard(uri, outlook.counting(times, _WORDS), outlook.stage)
            await guard.judge_question(case)
    return rows
