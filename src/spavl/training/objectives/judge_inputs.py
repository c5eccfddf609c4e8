"""What guards and judges are told of the questions that a training asks."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from spavl.judges.types import JudgeInput
from spavl.models.types import ImageData
from spavl.records import Category, Image, Sample
from spavl.store import RunFolder
from spavl.store.question_facts import categories_in


class TrainingJudgeInputs(NamedTuple):
    """`subjects` says what the images show, where that is known; `leaves` are the taxonomy's by their names."""

    image: Callable[[str], bytes]
    subjects: Mapping[str, str | None]
    leaves: Mapping[str, Category]

    def about(self, sample: Sample) -> JudgeInput:
        """Where a data set does not say whether a question asks for harm, it may."""
        shown = ImageData(sample.blob, self.image(sample.blob))
        subject, may_be_harmful = self.subjects.get(sample.image_id), sample.harmful is not False
        return JudgeInput(shown, sample.question, subject, may_be_harmful, category=self.leaves.get(sample.leaf))


def cases_of(run: RunFolder, image_data: Callable[[str], bytes]) -> TrainingJudgeInputs:
    known = run.manifest("selection") is not None
    subjects = {image.id: image.subject for image in run.read("selection", Image)} if known else {}
    return TrainingJudgeInputs(image_data, subjects, {leaf.leaf: leaf for leaf in categories_in(run).values()})
