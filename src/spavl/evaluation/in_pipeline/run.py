"""evaluation: Question rows of images no training saw -> Score rows, before and after."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from spavl.evaluation.in_pipeline.config import PLAN, BeforeAfterConfig
from spavl.evaluation.in_pipeline.metrics import ARMS, measure, p_values, withheld, without_value
from spavl.evaluation.in_pipeline.probes import BLANK_IMAGE, HELD_OUT_IMAGES, PROBES, QuestionSet, blank, probes_for
from spavl.evaluation.in_pipeline.unjudged import never_came, unjudged
from spavl.judges.canaries.checks import STAGE, canaries_of_guard
from spavl.judges.empty_answers import word_on_empty
from spavl.judges.judge_inputs import case_about
from spavl.judges.registry import open_guard
from spavl.models.types import ChatModel, ImageData, ask_about
from spavl.records import Image, Question, Score
from spavl.stages.context import RowResult, StageContext
from spavl.stages.judge_checks import check_judges, noted
from spavl.stages.runner import run_rows
from spavl.store import Manifest
from spavl.store.question_facts import categories_in, contested_in
from spavl.text.degenerate import DEGENERATE_KINDS, degeneration_of


async def run(job: StageContext[BeforeAfterConfig]) -> Manifest:
    settings = job.settings
    guard = open_guard(settings.guard, job.models, PLAN.stage)
    canaries = {settings.guard: canaries_of_guard(open_guard(settings.guard, job.models.at_once(), STAGE))}
    words = await check_judges(job, canaries, settings.canaries, "--evaluation.canaries warn")
    arms = {
        "before": job.models.open(settings.before, PLAN.stage),
        "after": job.models.open(settings.after or f"hf/{job.run.checkpoint('aligned')}", PLAN.stage),
    }
    images = {image.id: image for image in job.run.read("selection", Image)}
    tested = [question for question in job.run.read("questions", Question) if probes_for(images[question.image_id])]
    # What asks for harm to its writer and not to the guard, or the other way round, counts for neither rate.
    categories, contested = categories_in(job.run), contested_in(job.run)
    questions = [question for question in tested if question.id not in contested]

    async def score(question: Question, image: Image, probe: QuestionSet, arm: str, model: ChatModel) -> Score:
        shown = ImageData(image.blob, job.run.blobs.get(image.blob))
        request = ask_about(
            blank(image) if probe.blank else shown,
            question.text,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=job.seed,
        )
        reply = await model.ask(request)
        # The guard always sees the true image: what matters is what the answer would do in its world.
        case = case_about(question, image, shown, categories)
        word = word_on_empty(reply.text, reply.finish) or await guard.judge(case, reply.text)
        return replace(
            unjudged(probe.name, arm, question, image),
            answer=reply.text,
            label=word.label,
            refused=word.refused or reply.finish == "refused",
            names_subject=None if image.subject is None else names(reply.text, image.subject),
            call=reply.call,
            reasoning=reply.reasoning,
        )

    async def work(question: Question) -> RowResult[Score]:
        image = images[question.image_id]
        asked = [(probe, *arm) for probe in probes_for(image) for arm in arms.items()]
        return RowResult(await asyncio.gather(*(score(question, image, *each) for each in asked)))

    def figures() -> dict[str, object]:
        scores = list(job.run.read(PLAN.stage, Score))
        told = {"guard": guard.name, "contested": len(tested) - len(questions)}
        return told | _figures(job, scores, list(never_came(questions, images, scores))) | noted(words)

    return await run_rows(job, PLAN, questions, len(questions), work, figures)


def names(answer: str, subject: str) -> bool:
    """Whether the answer holds the name of what the image shows, as a whole word."""
    return re.search(rf"\b{re.escape(subject)}\b", answer, re.IGNORECASE) is not None


def _figures(job: StageContext[BeforeAfterConfig], scores: Sequence[Score], lost: Sequence[Score]) -> dict[str, object]:
    """The figures of every probe, but for the rates of which too many answers could not be judged or never came."""
    probes = {name: [score for score in (*scores, *lost) if score.probe == name] for name in PROBES}
    # Of a blank image a model may say anything: what cannot be judged there widens that probe's own intervals.
    most = {name: 1.0 if name == BLANK_IMAGE else job.settings.max_invalid for name in PROBES}
    gone = {name: list(withheld(own, most[name])) for name, own in probes.items()}
    rates = {name: [(rate, arm) for rate, arm, _ in lost] for name, lost in gone.items()}
    untold = {rate for rate, _ in rates[HELD_OUT_IMAGES]}
    p = p_values(probes[HELD_OUT_IMAGES])
    return {
        "labels": dict(Counter(score.label for score in scores)),
        "figures": {name: without_value(measure(own), rates[name]) for name, own in probes.items()},
        "p_values": {rate: value for rate, value in p.items() if rate not in untold},
        "withheld": [
            f"{rate.replace('_', ' ')} {arm}, {name.replace('_', ' ')}: {why}"
            for name, lost in gone.items()
            for rate, arm, why in lost
        ],
        "degenerate": {arm: _degenerate(job, [score for score in scores if score.arm == arm]) for arm in ARMS},
    }


def _degenerate(job: StageContext[BeforeAfterConfig], scores: Sequence[Score]) -> dict[str, int]:
    """How many answers are no proper ones. Whether one was cut off, its call in the ledger tells."""
    counts = dict.fromkeys(("degenerate", *DEGENERATE_KINDS), 0) | {"answers": len(scores)}
    for score in scores:
        call = job.run.ledger.get(score.call)
        kinds = degeneration_of(score.answer, call.status if call else "stop")
        for kind in (*kinds, *(["degenerate"] if kinds else [])):
            counts[kind] += 1
    return counts
