"""What guards and judges are told of a question of a run."""

from collections.abc import Mapping

from spavl.judges.types import Case
from spavl.models.types import Picture
from spavl.records import Category, Image, Question


def case_about(question: Question, image: Image, shown: Picture, categories: Mapping[str, Category]) -> Case:
    category = categories.get(image.category_id)
    return Case(shown, question.text, image.subject, question.harmful, category=category)
