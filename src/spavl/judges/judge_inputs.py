"""Builds the input of guards and judges for a question of a run."""

from collections.abc import Mapping

from spavl.judges.types import JudgeInput
from spavl.models.types import ImageData
from spavl.records import Category, Image, Question


def case_about(question: Question, image: Image, shown: ImageData, categories: Mapping[str, Category]) -> JudgeInput:
    category = categories.get(image.category_id)
    return JudgeInput(shown, question.text, image.subject, question.harmful, category=category)
