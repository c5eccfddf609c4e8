"""Open questions with short answers: VQAv2, VizWiz and TextVQA, scored against what ten people said, and GQA."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spavl.evaluation.benchmarks.ability.instructions import IN_A_WORD, OR_UNANSWERABLE, ended_with
from spavl.evaluation.benchmarks.files import answer_keys
from spavl.evaluation.benchmarks.files.row_files import BenchmarkRow, image_in, need, rows, rows_of, strange
from spavl.evaluation.benchmarks.types import Benchmark, BenchmarkItem

_GET_VQA = (
    "put v2_OpenEnded_mscoco_val2014_questions.json and v2_mscoco_val2014_annotations.json of visualqa.org into the "
    "folder and COCO's images into val2014/; or download lmms-lab/VQAv2 from the Hugging Face hub"
)
_GET_VIZWIZ = (
    "put val.json of vizwiz.org's VQA task into the folder and its images into val/; or download lmms-lab/VizWiz-VQA "
    "from the Hugging Face hub"
)
_GET_TEXTVQA = (
    "put TextVQA_0.5.1_val.json of textvqa.org into the folder and its images into train_images/; or download "
    "lmms-lab/textvqa from the Hugging Face hub"
)
_GET_GQA = (
    "put testdev_balanced_questions.json of GQA into the folder and its images into images/; or download "
    "lmms-lab/GQA (testdev_balanced_instructions and testdev_balanced_images) from the Hugging Face hub"
)


def _vqa(folder: Path) -> Iterator[BenchmarkItem]:
    asked = list(folder.glob("v2_OpenEnded_mscoco_val2014_questions.json"))
    tables = ("data/validation-*.parquet", "data/val-*.parquet", "validation-*.parquet", "*.parquet")
    roots = [folder / "val2014", folder / "images"]
    said: Mapping[str, BenchmarkRow] = {}
    if asked:
        (annotations,) = need(folder, ("v2_mscoco_val2014_annotations.json",), _GET_VQA)
        said = {row.text("question_id"): row for row in rows(annotations)}
    for row in rows_of(asked or need(folder, tables, _GET_VQA)):
        key, image = row.text("question_id"), row.text("image_id")
        about = said.get(key, row)
        name = f"COCO_val2014_{image:0>12}.jpg"
        yield _short_answer_item(
            row,
            key,
            _people(about.cell("answers"), about),
            rules=("match/consensus", "match/vqa"),
            image=row.image("image", folders=roots, names=(name,), get=_GET_VQA),
            group=about.maybe_text("answer_type"),
            cluster=image,
        )


def _vizwiz(folder: Path) -> Iterator[BenchmarkItem]:
    listed = ("val.json", "Annotations/val.json", "annotations/val.json", "data/val-*.parquet", "*.parquet")
    roots = [folder / place for place in ("val", "images/val", "images", ".")]
    for row in rows_of(need(folder, listed, _GET_VIZWIZ)):
        yield _short_answer_item(
            row,
            row.maybe_text("question_id") or row.image_name("image") or str(row.number),
            _people(row.cell("answers"), row),
            image=row.image("image", folders=roots, get=_GET_VIZWIZ),
            group=row.maybe_text("answer_type") or row.maybe_text("category"),
            rules=("match/consensus", "match/vizwiz"),
            ending=OR_UNANSWERABLE,
        )


def _textvqa(folder: Path) -> Iterator[BenchmarkItem]:
    listed = ("TextVQA_*_val.json", "data/validation-*.parquet", "validation-*.parquet", "*.parquet")
    roots = [folder / place for place in ("train_images", "train_val_images/train_images", "images", ".")]
    for row in rows_of(need(folder, listed, _GET_TEXTVQA)):
        image = row.text("image_id")
        yield _short_answer_item(
            row,
            row.text("question_id"),
            _people(row.cell("answers"), row),
            rules=("match/consensus", "match/textvqa"),
            image=row.image("image", folders=roots, names=(f"{image}.jpg",), get=_GET_TEXTVQA),
            cluster=image,
        )


def _gqa(folder: Path) -> Iterator[BenchmarkItem]:
    listed = ("testdev_balanced_questions.json", "*/testdev_balanced_questions.json")
    tables = ("testdev_balanced_instructions/*.parquet",)
    files = need(folder, (*listed, *tables), _GET_GQA)
    roots = [place / "images" for place in dict.fromkeys((folder, files[0].parent))]
    inside: dict[str, BenchmarkRow] = {}
    if files[0].suffix == ".parquet":
        images = need(folder, ("testdev_balanced_images/*.parquet",), _GET_GQA)
        inside = {row.text("id"): row for row in rows_of(images)}
    for row in rows_of(files):
        image, kinds = row.text("imageId"), row.maybe("types")
        held = inside[image].image("image", get=_GET_GQA) if image in inside else None
        yield _short_answer_item(
            row,
            row.text("key", "id"),
            (answer_keys.words(row, "answer"),),
            rules=("match/exact", "match/gqa", "match/gqa-llava"),
            image=held or image_in(roots, (f"{image}.jpg",), _GET_GQA),
            group=str(kinds.get("structural") or "") if isinstance(kinds, dict) else "",
            cluster=image,
        )


def _short_answer_item(
    row: BenchmarkRow,
    key: str,
    references: tuple[str, ...],
    rules: tuple[str, ...],
    ending: str = IN_A_WORD,
    **more: Any,
) -> BenchmarkItem:
    question = ended_with(row.question_text("question"), ending)
    return BenchmarkItem(key=key, question=question, wants="answer", scored_by=rules, references=references, **more)


def _people(answers: Any, row: BenchmarkRow) -> tuple[str, ...]:
    """The answer of each annotator. Raises if there are none, as in the files of a test split."""
    told = [each.get("answer") if isinstance(each, dict) else each for each in answers or ()]
    said = tuple(each for each in told if isinstance(each, str))
    if len(said) < len(told) or isinstance(answers, str):
        raise strange("what people answered is no list of texts", row, then="give the file as it is published")
    if not said:
        raise strange(
            "this question comes without answers, as those of a test do", row, then="use the validation split"
        )
    return said


VQA = Benchmark(
    name="vqav2",
    does="214,354 open questions about COCO's validation images",
    get=_GET_VQA,
    read=_vqa,
    scoring="VQA accuracy: min(1, other nine people with the same answer / 3), mean over ten people, words "
    "normalized. Also the authors', who normalize only where the ten do not all agree",
)
VIZWIZ = Benchmark(
    name="vizwiz",
    does="4,319 questions that blind people asked about images they took, many of which cannot be answered",
    get=_GET_VIZWIZ,
    read=_vizwiz,
    scoring="VQA accuracy, words normalized. Also the authors', who do not normalize the people's answers",
)
TEXTVQA = Benchmark(
    name="textvqa",
    does="5,000 questions about text in images, without OCR output",
    get=_GET_TEXTVQA,
    read=_textvqa,
    scoring="VQA accuracy, words normalized. Also the authors', whose server splits words a little more first",
)
GQA = Benchmark(
    name="gqa",
    does="12,578 questions of the balanced test-dev about objects and their relations in an image",
    get=_GET_GQA,
    read=_gqa,
    scoring="accuracy: the same words, ignoring case and punctuation, as lmms-eval does. Also the authors': the same "
    "string; and LLaVA's: the same in lower case without a final full stop",
)
