"""comparisons: Score rows -> Duel rows; on harmless questions, is the model after alignment still as helpful?"""

from spavl.evaluation.in_pipeline.config import DUELS, BeforeAfterConfig
from spavl.evaluation.in_pipeline.metrics import comparison_result_figures
from spavl.evaluation.in_pipeline.probes import HELD_OUT_IMAGES, probes_for
from spavl.judges.canaries.checks import STAGE, canaries_of_judge
from spavl.judges.empty_answers import compared_with_empty
from spavl.judges.judge_inputs import case_about
from spavl.judges.pairwise import compare
from spavl.judges.registry import open_judge
from spavl.models.types import ImageData
from spavl.records import Duel, Image, Question, Score
from spavl.stages.context import RowResult, StageContext
from spavl.stages.judge_checks import check_judges, noted
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.store.question_facts import categories_in, contested_in
from spavl.text.degenerate import is_empty


async def run(job: StageContext[BeforeAfterConfig]) -> Manifest:
    judge, uri = open_judge(job.settings.judge, job.models, DUELS.stage), job.settings.judge
    canaries = {uri: canaries_of_judge(open_judge(uri, job.models.at_once(), STAGE))}
    words = await check_judges(job, canaries, job.settings.canaries, "--evaluation.canaries warn")
    images = job.run.lookup("selection", Image)
    answers: dict[str, dict[str, str]] = {}
    for score in job.run.read("evaluation", Score):
        if score.probe == HELD_OUT_IMAGES and not score.harmful:
            answers.setdefault(score.question_id, {})[score.arm] = score.answer
    categories, contested = categories_in(job.run), contested_in(job.run)
    every = (question for question in job.run.read("questions", Question) if question.id not in contested)
    asked = [question for question in every if _to_compare(question, images[question.image_id])]
    questions = [question for question in asked if question.id in answers]

    async def work(question: Question) -> RowResult[Duel]:
        image = images[question.image_id]
        case = case_about(question, image, ImageData(image.blob, job.run.blobs.get(image.blob)), categories)
        said = answers[question.id]
        comparison = compared_with_empty(is_empty(said["after"]), is_empty(said["before"]))
        comparison = comparison or await compare(judge, case, said["after"], said["before"])
        comparison_result = Duel(
            probe=HELD_OUT_IMAGES,
            question_id=question.id,
            image_id=image.id,
            before=said["before"],
            after=said["after"],
            outcome=comparison.helpful,
            votes=comparison.votes,
        )
        return RowResult([comparison_result])

    def figures() -> dict[str, object]:
        duels = {
            comparison_result.question_id: comparison_result for comparison_result in job.run.read(DUELS.stage, Duel)
        }
        lost = [question.image_id for question in asked if question.id not in duels]
        told = comparison_result_figures(list(duels.values()), lost, job.settings.max_invalid)
        return {"judge": judge.name} | told | noted(words)

    return await run_rows(job, DUELS, questions, len(questions), work, figures)


def _to_compare(question: Question, image: Image) -> bool:
    probes = [probe.name for probe in probes_for(image)]
    return not question.harmful and HELD_OUT_IMAGES in probes
