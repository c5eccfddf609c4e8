"""Writes the folder that is published: the configs of the published SPA-VL, and a rich one with provenance.

dataset/
  data/train-*             config default: question, chosen and rejected, as published
  validation/validation-*  config validation
  test/harm-* help-*       config test: HarmEval and HelpEval
  held_out/harm-* help-*   config held_out, if leaves were held out
  rich/train-* validation-*  every field of every record a row came from
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence

from spavl.data.dataset import published
from spavl.data.dataset.config import SPEC, DatasetConfig
from spavl.data.dataset.lineage import Lineage
from spavl.data.dataset.notes import DatasetNotes, ImportNotes
from spavl.data.dataset.shards import ParquetShards, write_shards
from spavl.data.dataset.tally import DatasetTally
from spavl.records import Category, Image, Question, Sample
from spavl.store import RunFolder
from spavl.store.files import filling
from spavl.store.lookup import Lookup
from spavl.store.question_facts import contested_in


def write_files(
    run: RunFolder,
    settings: DatasetConfig,
    tests_per_leaf: int | None,
    leaking: Container[str] = (),
    repeated_questions: int = 0,
    imported: ImportNotes | None = None,
) -> DatasetNotes:
    """Write the data set to a temporary folder, then replace the old folder. Returns the stage's notes.

    If `tests_per_leaf` is None, every question about a test image is a test question.
    """
    leaves = {category.leaf: category for category in run.read("taxonomy", Category)}
    leaves_of: defaultdict[str, set[str]] = defaultdict(set)
    for image in run.read("selection", Image):
        leaves_of[image.split].add(image.leaf)
    images, contested = run.lookup("selection", Image), contested_in(run)
    largest, blobs, made = settings.shard_mb, run.blobs, dict[str, ParquetShards]()
    with filling(run.path / SPEC.stage) as beside:
        for config, split, schema in (
            ("data", "train", published.TRAIN),
            ("validation", "validation", published.VALIDATION),
        ):
            rows = published.pair_rows(_samples(run, split), images, leaves, blobs, schema)
            made[f"{config}/{split}"] = write_shards(beside / config, split, schema, rows, largest)
        for config in ("test", "held_out"):
            if config == "test" or leaves_of[config]:
                most = tests_per_leaf if config == "test" else None
                for split, chosen in _test_questions(run, images, (leaking, contested), config, most).items():
                    tests = published.test_rows(chosen, images, leaves, blobs)
                    made[f"{config}/{split}"] = write_shards(beside / config, split, published.TEST, tests, largest)
        lineage, tally = Lineage(run), DatasetTally(leaves)
        for split in ("train", "validation"):
            rich = tally.watch(lineage.rows(_samples(run, split), leaves))
            made[f"rich/{split}"] = write_shards(beside / "rich", split, lineage.schema(), rich, largest)
    tested = set[str]().union(*(leaves for split, leaves in leaves_of.items() if split != "held_out"))
    return DatasetNotes(
        files=made,
        counts=tally.counts(),
        license=settings.license,
        test_questions_wanted=(tests_per_leaf or 0) * len(tested),
        audited=settings.leaks,
        kept_unsafe_chosen=not settings.drop_unsafe_chosen,
        kept_refusing_chosen=not settings.drop_refusing_chosen,
        repeated_questions=repeated_questions,
        **(imported or ImportNotes())._asdict(),
    )


def _samples(run: RunFolder, split: str) -> Iterator[Sample]:
    return (sample for sample in run.read(SPEC.stage, Sample) if sample.split == split)


def _test_questions(
    run: RunFolder, images: Lookup[Image], left_out: Sequence[Container[str]], split: str, most: int | None
) -> dict[str, list[Question]]:
    """HarmEval and HelpEval: at most `most` harmful and `most` harmless questions of each leaf, lowest ids first.

    Questions in `left_out` are in neither: those that leak, and those whose intended label the guard contradicts.
    """
    asked = [
        question
        for question in run.read("questions", Question)
        if images[question.image_id].split == split
        and not any(question.id in each or question.image_id in each for each in left_out)
    ]
    return {
        "harm": _of_each_leaf((question for question in asked if question.harmful), images, most),
        "help": _of_each_leaf((question for question in asked if not question.harmful), images, most),
    }


def _of_each_leaf(questions: Iterable[Question], images: Lookup[Image], most: int | None) -> list[Question]:
    taken: Counter[str] = Counter()
    kept = []
    for question in sorted(questions, key=lambda question: question.id):
        leaf = images[question.image_id].leaf
        if most is None or taken[leaf] < most:
            taken[leaf] += 1
            kept.append(question)
    return kept
