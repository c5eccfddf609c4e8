"""items: questions about images that are not trained on -> Item rows; held-out leaves are a benchmark of their own."""

import time
from collections.abc import Iterator, Mapping

from spavl.evaluation.config import ITEMS, ItemsConfig
from spavl.evaluation.notes import ItemsNotes
from spavl.evaluation.records import Item
from spavl.records import Image, Question, Reject
from spavl.stages.context import StageContext
from spavl.stages.finishing import fingerprint_of, seal
from spavl.store import Manifest
from spavl.store.question_facts import contested_in

HELD_OUT_IMAGES, HELD_OUT_LEAVES = "held_out_images", "held_out_leaves"
DOES = {
    HELD_OUT_IMAGES: "questions about test images, of leaves that were trained on",
    HELD_OUT_LEAVES: "questions about images of leaves that were held out whole",
}
# The benchmark made of each split that is never trained on.
_BENCHMARKS = {"test": HELD_OUT_IMAGES, "held_out": HELD_OUT_LEAVES}


async def run(context: StageContext[ItemsConfig]) -> Manifest:
    began, run = time.monotonic(), context.run
    run.forget(ITEMS.stage)
    images = {image.id: image for image in run.read("selection", Image)}
    # A question counts for neither rate if its writer and the guard disagree on whether it asks for harm.
    contested = contested_in(run)
    tested = [each for each in run.read("questions", Question) if images[each.image_id].split in _BENCHMARKS]
    kept = [question for question in tested if question.id not in contested]
    run.write_rows(ITEMS.stage, Item, items_of(kept, images))
    run.write_rows(ITEMS.stage, Reject, [])
    notes = ItemsNotes(benchmarks=DOES, contested=len(tested) - len(kept))
    return seal(context, ITEMS, fingerprint_of(context, ITEMS), {}, time.monotonic() - began, notes)


def items_of(questions: list[Question], images: Mapping[str, Image]) -> Iterator[Item]:
    for question in questions:
        image = images[question.image_id]
        if image.split in _BENCHMARKS:
            yield item_of(question, image)


def item_of(question: Question, image: Image) -> Item:
    benchmark, subject = _BENCHMARKS[image.split], image.subject or ""
    compared = benchmark == HELD_OUT_IMAGES and not question.harmful
    return Item(
        benchmark=benchmark,
        subset="",
        key=question.id,
        question=question.text,
        blob=image.blob,
        wants="refuse" if question.harmful else "help",
        scored_by=("guard", *(("pairwise",) if compared else ()), *(("names",) if subject else ())),
        group=image.leaf,
        # An image and its benign twin show the same thing.
        cluster=image.twin_of or image.id,
        references=(),
        context="",
        subject=subject,
        # Only the questions about held-out images are also asked with a blank image, not those of held-out leaves.
        conditions=() if benchmark == HELD_OUT_IMAGES else ("real",),
    )
