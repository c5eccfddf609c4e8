"""Multiple choice: ScienceQA, MMBench and SEED-Bench."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks.ability.formulas import circular
from spavl.evaluation.benchmarks.ability.instructions import asked_with
from spavl.evaluation.benchmarks.files import answer_keys
from spavl.evaluation.benchmarks.files.row_files import (
    BenchmarkRow,
    image_in,
    image_of_base64,
    need,
    rows,
    rows_of,
    strange,
)
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem, Bytes

_GET_SCIENCE = (
    "put problems.json and pid_splits.json of github.com/lupantech/ScienceQA into the folder, with the images of the "
    "test as test/ID/image.png; or download lmms-lab/ScienceQA from the Hugging Face hub"
)
_GET_MMBENCH = (
    "download the TSV of the dev split (MMBench_DEV_EN.tsv; the test's answers are not public) by the links of "
    "github.com/open-compass/MMBench, or lmms-lab/MMBench from the Hugging Face hub"
)
_GET_SEED = (
    "put SEED-Bench.json into the folder and the images into SEED-Bench-image/, by the links of "
    "github.com/AILab-CVC/SEED-Bench; or download lmms-lab/SEED-Bench from the Hugging Face hub"
)
# A copy of an MMBench question with its options in another order has the index plus a multiple of this number.
_MMBENCH_TURN = 1_000_000
_LONGEST_INDEX = 64
# How MMBench's files write empty cells.
_NOTHING = ("", "nan")
# The subset of ScienceQA's questions without an image.
_WORDS_ALONE = "words alone"


def _science(folder: Path) -> Iterator[BenchmarkItem]:
    if (folder / "problems.json").is_file() or (folder / "data/scienceqa/problems.json").is_file():
        listed = _science_release(folder)
    else:
        tables = ("ScienceQA-FULL/test-*.parquet", "ScienceQA-IMG/test-*.parquet", "data/test-*.parquet", "*.parquet")
        listed = ((row, _maybe_shown(row)) for row in rows_of(need(folder, tables, _GET_SCIENCE)))
    for row, image in listed:
        options, hint = answer_keys.texts_of_cell(row, "choices"), row.maybe_text("hint")
        question = "\n".join([*([f"Context: {hint}"] if hint else []), row.question_text("question")])
        yield BenchmarkItem(
            key=row.maybe_text("key", "id", "pid") or str(row.number),
            question=asked_with(question, options),
            wants="answer",
            scored_by=(
                "match/choice",
                "match/scienceqa",
                "match/scienceqa-llava",
                "match/scienceqa-lmms-eval",
                "match/chef",
            ),
            image=image,
            subset="with image" if image else _WORDS_ALONE,
            group=row.maybe_text("subject"),
            references=(answer_keys.letter_at(row, options, "answer"),),
        )


def _maybe_shown(row: BenchmarkRow) -> Bytes | None:
    """The image, if there is one. Raises if the column is missing: nearly half of the questions should have one."""
    if "image" not in row.cells:
        row.cell("image")
    return row.maybe_image("image", get=_GET_SCIENCE)


def _science_release(folder: Path) -> Iterator[tuple[BenchmarkRow, Bytes | None]]:
    problems = need(folder, ("problems.json", "data/scienceqa/problems.json"), _GET_SCIENCE)[0]
    try:
        tested = set(json.loads((problems.parent / "pid_splits.json").read_text())["test"])
    except (OSError, ValueError, KeyError) as error:
        what = f"the list of the test's questions cannot be read: {error}"
        raise ConfigError(what, where=str(problems.parent / "pid_splits.json"), then=_GET_SCIENCE) from None
    roots = [folder, folder / "images", problems.parent, problems.parent / "images"]
    for row in rows(problems):
        key = row.text("key")
        if key in tested:
            name = row.maybe_text("image")
            yield row, image_in(roots, (f"test/{key}/{name}", f"{key}/{name}"), _GET_SCIENCE) if name else None


def _mmbench(folder: Path) -> Iterator[BenchmarkItem]:
    tables = (
        "*DEV_EN*.tsv",
        "*dev_en*.tsv",
        "*dev*.tsv",
        "*.tsv",
        "en/dev-*.parquet",
        "data/dev-*.parquet",
        "*.parquet",
    )
    files = need(folder, tables, _GET_MMBENCH)
    for row in rows_of(files[:1] if files[0].suffix == ".tsv" else files):
        index, options = row.text("index"), _options(row)
        if not index.isdecimal():
            raise strange(f"the index {index!r} is no whole number", row, then=_GET_MMBENCH)
        if row.maybe_text("answer").strip() in _NOTHING:
            raise strange("this question comes without its answer, as those of the test do", row, then=_GET_MMBENCH)
        hint = row.maybe_text("hint").strip()
        told = [hint] if hint not in _NOTHING else []
        yield BenchmarkItem(
            key=index,
            question=asked_with("\n".join([*told, row.question_text("question")]), options),
            wants="answer",
            scored_by=("match/choice", "match/mmbench", "match/chef"),
            image=_in_tsv(row) if isinstance(row.cells.get("image"), str) else row.image("image", get=_GET_MMBENCH),
            subset=row.maybe_text("split"),
            group=row.maybe_text("category"),
            cluster=_question_of(index),
            references=(answer_keys.letter(row, ["" if each in _NOTHING else each for each in options], "answer"),),
        )


def _question_of(key: str) -> str:
    """The index of a question, the same for all orders of its options."""
    return str(int(key) % _MMBENCH_TURN)


def _options(row: BenchmarkRow) -> list[str]:
    """The options A to E, without the empty ones at the end. Other empty ones keep their letters."""
    options = [row.maybe_text(letter).strip() for letter in "ABCDE"]
    while options and options[-1] in _NOTHING:
        options.pop()
    return options


def _in_tsv(row: BenchmarkRow) -> Bytes:
    """The image, which the cell holds in base64, or by the index of another row with the same image."""
    text = row.text("image")
    if len(text) > _LONGEST_INDEX or not text.isdecimal():
        return image_of_base64(text, f"{row.file}, row {row.number}")
    return lambda: image_of_base64(_images_of(row.file).get(text, "?"), f"{row.file}, index {text}")()


@functools.lru_cache(maxsize=1)
def _images_of(file: Path) -> dict[str, str]:
    return {row.text("index"): image for row in rows(file) if len(image := row.text("image")) > _LONGEST_INDEX}


def _seed(folder: Path) -> Iterator[BenchmarkItem]:
    roots = [folder / "SEED-Bench-image", folder]
    for row in rows_of(need(folder, ("SEED-Bench.json", "data/test-*.parquet", "*.parquet"), _GET_SEED)):
        # Questions about videos need a sequence of frames, which is not supported here.
        if row.text("data_type") != "image":
            continue
        options = [answer_keys.words(row, f"choice_{letter}") for letter in "abcd"]
        yield BenchmarkItem(
            key=row.text("question_id"),
            question=asked_with(row.question_text("question"), options),
            wants="answer",
            scored_by=("match/choice", "match/seed-lmms-eval"),
            image=row.image("image", folders=roots, names=(row.text("data_id"),), get=_GET_SEED),
            group=row.maybe_text("question_type_id"),
            cluster=row.maybe_text("data_id"),
            references=(answer_keys.letter(row, options, "answer"),),
        )


SCIENCE = Benchmark(
    name="scienceqa",
    does="4,241 school questions of the test, about half of them with an image",
    get=_GET_SCIENCE,
    read=_science,
    needs_image=lambda found: found.subset != _WORDS_ALONE,
    scoring="accuracy by the option that an answer takes. Four published rules too: the authors', which reads only "
    "`The answer is B.` and picks a random option otherwise, so that short answers score at chance; LLaVA's, which "
    "most papers use; lmms-eval's; and ChEF's",
)
MMBENCH = Benchmark(
    name="mmbench",
    does="questions of twenty abilities in multiple choice, each in every order of its options where the file has them",
    get=_GET_MMBENCH,
    read=_mmbench,
    scoring="accuracy by the option that an answer takes, and the strict one by question over all orders of its "
    "options. Where the letter is unclear the answer is unread. Two published rules too, which count it as wrong: the "
    "authors' (VLMEvalKit's exact matching; they may also ask a model which option was meant), and ChEF's",
    figures=lambda items, marks: {"strict accuracy": circular(marks, [_question_of(item.key) for item in items])},
    whole_clusters=True,
)
SEED = Benchmark(
    name="seed",
    does="SEED-Bench's 14,000 questions about images in multiple choice; those about videos are left out, so "
    "the result is not comparable with all of SEED-Bench",
    get=_GET_SEED,
    read=_seed,
    scoring="accuracy by the option that an answer takes, and by lmms-eval's rule, its first character. The authors "
    "compare the likelihoods of the options, which an answer does not contain",
)
