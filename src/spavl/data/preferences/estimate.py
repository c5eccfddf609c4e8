"""Cost estimate: the judge's calls, each pair in both orders."""

from spavl.data.preferences.config import PreferencesConfig
from spavl.judges.canaries.checks import STAGE, ask_canaries, canaries_of_judge
from spavl.judges.judge_inputs import case_about
from spavl.judges.pairwise import compare
from spavl.judges.registry import is_rules, open_judge
from spavl.records import Category, Image, Pair, Preference, Question, Response, Verdict
from spavl.stages.cost_model import CostContext, WeightedRow, subsample_rows

# Seven lines of two words.
_WORDS = 25


async def preferences(context: CostContext[PreferencesConfig]) -> list[WeightedRow[Preference]]:
    judges = [context.settings.judge, context.settings.second_judge]
    asked = [uri for uri in judges if uri and not is_rules(uri)]
    if not asked:
        return []
    images = {image.id: image for image, _ in context.read("selection", Image)}
    questions = {question.id: question for question, _ in context.read("questions", Question)}
    categories = {category.id: category for category, _ in context.read("taxonomy", Category)}
    labels = {verdict.response_id: verdict.label for verdict, _ in context.read("verdicts", Verdict)}
    answers = {response.id: response.text for response, _ in context.read("responses", Response)}
    for uri in asked:
        await ask_canaries(canaries_of_judge(open_judge(uri, context.counting(1, _WORDS), STAGE)))
    for pair, times in subsample_rows(context.read("pairs", Pair)):
        are_unsafe = labels.get(pair.first) == labels.get(pair.second) == "unsafe"
        if are_unsafe and context.settings.judge_both_unsafe is False:
            continue
        question = questions[pair.question_id]
        image = images[question.image_id]
        case = case_about(question, image, context.image(image), categories)
        for uri in asked:
            judge = open_judge(uri, context.counting(times, _WORDS), context.stage)
            await compare(judge, case, answers[pair.first], answers[pair.second])
    return []
