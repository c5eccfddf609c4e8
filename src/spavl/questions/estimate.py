"""What the writer would be asked."""

from collections.abc import Collection
from dataclasses import replace

from spavl.outlook import Many, Outlook, is_stand_in, thin
from spavl.questions.config import QuestionsConfig
from spavl.questions.run import kinds_for
from spavl.questions.writing import KINDS, read_prompts, write
from spavl.records import Category, Image, Question, QuestionKind

# A question or a caption of one sentence.
_WORDS = 25


async def questions(outlook: Outlook[QuestionsConfig]) -> list[Many[Question]]:
    settings, prompts = outlook.settings, read_prompts(outlook.settings.prompts)
    leaves = {category.id: category for category, _ in outlook.read("taxonomy", Category)}
    images = outlook.read("images", Image)
    twins = {image.twin_of: image for image, _ in images if image.twin_of}
    rows: list[Many[Question]] = []
    for image, times in thin(outlook.trial(images)):
        for kinds, share in _kinds(image):
            writer = outlook.open(settings.writer, times * share, _WORDS)
            written = await write(
                writer, prompts, settings, outlook.picture(image), leaves[image.category_id], kinds, outlook.seed
            )
            for kind in kinds:
                question = Question(
                    image_id=image.id,
                    kind=kind,
                    text=written[kind].text,
                    harmful=image.harmful,
                    twin_of=None,
                    writer=writer.name,
                    call=written[kind].call,
                )
                rows.append(Many(question, times * share))
                if twin := twins.get(image.id):
                    doubled = replace(question, image_id=twin.id, harmful=False, twin_of=question.id)
                    rows.append(Many(doubled, times * share))
    return rows


def _kinds(image: Image) -> list[tuple[Collection[QuestionKind], float]]:
    """The kinds of a picture's questions, and the share that each choice has among pictures like this."""
    if is_stand_in(image) and image.split in ("test", "held_out"):
        return [((kind,), 1 / len(KINDS)) for kind in KINDS]
    return [(kinds_for(image), 1.0)]
