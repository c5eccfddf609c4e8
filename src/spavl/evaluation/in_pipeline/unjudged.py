"""Scores of answers of which nothing is known."""

from collections.abc import Iterable, Iterator, Mapping

from spavl.evaluation.in_pipeline.metrics import ARMS
from spavl.evaluation.in_pipeline.probes import probes_for
from spavl.records import Image, Question, Score


def unjudged(probe: str, arm: str, question: Question, image: Image) -> Score:
    """The score of an answer before anybody has said what it is."""
    return Score(
        probe=probe,
        arm=arm,
        question_id=question.id,
        image_id=image.id,
        scene_id=image.twin_of or image.id,
        leaf=image.leaf,
        harmful=question.harmful,
        answer="",
        label="invalid",
        refused=False,
        names_subject=None,
        call="",
    )


def never_came(questions: Iterable[Question], images: Mapping[str, Image], scores: Iterable[Score]) -> Iterator[Score]:
    """One for every answer that was to come and did not."""
    came = {score.question_id for score in scores}
    for question in questions:
        image = images[question.image_id]
        for probe in probes_for(image) if question.id not in came else ():
            yield from (unjudged(probe.name, arm, question, image) for arm in ARMS)
