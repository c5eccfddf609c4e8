"""The inputs of guards and judges for the questions of a training."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from spavl.judges.types import JudgeInput
from spavl.models.types import ImageData
from spavl.records import Category, Image, Sample
from spavl.store import RunFolder
from spavl.store.question_facts import categories_in


class TrainingJudgeInputs(NamedTuple):
    """`subjects` are what the images show, None if unknown; `leaves` are those of the taxonomy, by name."""

    image: Callable[[str], bytes]
    subjects: Mapping[str, str | None]
    leaves: Mapping[str, Category]

    def of(self, sample: Sample) -> JudgeInput:
        """A question counts as possibly harmful unless the data set says that it is harmless."""
        shown = ImageData(sample.blob, self.image(sample.blob))
        subject, may_be_harmful = self.subjects.get(sample.image_id), sample.harmful is not False
        return JudgeInput(shown, sample.question, subject, may_be_harmful, category=self.leaves.get(sample.leaf))


def judge_inputs_of(run: RunFolder, image_data: Callable[[str], bytes]) -> TrainingJudgeInputs:
    known = run.manifest("selection") is not None
    subjects = {image.id: image.subject for image in run.read("selection", Image)} if known else {}
    return TrainingJudgeInputs(image_data, subjects, {leaf.leaf: leaf for leaf in categories_in(run).values()})
