"""Benchmarks in the layouts that their authors' own scripts and repositories write.

Each test writes the file as its docstring describes the script: with the same library, and the same order of fields,
types and names of files.
"""

import base64
import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.evaluation.benchmarks.mm_safetybench import CRITERIA
from spavl.evaluation.benchmarks.types import BenchmarkItem
from tests.foreign_files.pushed import push
from tests.support.images import encoded, photo, pixels


def read(name: str, folder: Path) -> list[BenchmarkItem]:
    return list(registry.benchmark_named(name).items(folder))


def put_image(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    photo(number, 32).save(file, "PNG")


def shows(found: BenchmarkItem, number: int) -> bool:
    return found.image is not None and pixels(found.image()) == pixels(encoded(photo(number, 32), "PNG"))


def dump_json(file: Path, value: object, **options: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as opened:
        json.dump(value, opened, **options)


@pytest.mark.parametrize("place", ["output/coco", "coco", "."])
def test_pope_as_its_generator_writes_it(tmp_path: Path, place: str) -> None:
    """POPE's main.py writes a file of JSON lines for each way of choosing absent objects, into output/coco/.

    The fields are question_id from 1, image, text and label. Beside them are two files of JSON, each one object: the
    counts of the objects, and which occur together. LLaVA's scripts expect the folder as pope/coco/.
    """
    folder = tmp_path / place
    for way in ("random", "popular", "adversarial"):
        rows = [
            {"question_id": 1, "image": "COCO_val2014_000000000007.jpg", "text": f"Is there {what} in the image?"}
            for what in ("a cup", "an egg")
        ]
        rows = [
            {**row, "question_id": number, "label": label}
            for number, (row, label) in enumerate(zip(rows, ("yes", "no"), strict=True), 1)
        ]
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"coco_pope_{way}.json").write_text(lines, encoding="utf-8")
    dump_json(folder / "coco_ground_truth_objects.json", {"cup": 1, "egg": 2})
    dump_json(folder / "coco_co_occur.json", {"cup": ["egg"], "egg": []})
    put_image(tmp_path / "val2014/COCO_val2014_000000000007.jpg", 7)
    found = read("pope", tmp_path)
    assert Counter(each.subset for each in found) == {"random": 2, "popular": 2, "adversarial": 2}
    assert [(each.key, *each.references) for each in found[:2]] == [("1", "yes"), ("2", "no")]
    assert all(shows(each, 7) for each in found)


def test_scienceqa_as_the_scripts_of_llava_leave_it(tmp_path: Path) -> None:
    """LLaVA's convert_sqa_to_llava.py writes llava_test_CQM-A.json (indented by 2) and scienceqa_test_QCM-LEPA.jsonl.

    Both are beside problems.json and pid_splits.json; images are in images/test/ID/image.png. Only the two files of
    ScienceQA's authors are read.
    """
    facts = {"hint": "", "task": "closed choice", "grade": "grade2", "topic": "t", "category": "c", "skill": "s"}
    facts |= {"lecture": "", "solution": "", "split": "test"}
    one = {"question": "Which is red?", "choices": ["a cherry", "the sky"], "answer": 0, "image": "image.png", **facts}
    two = {"question": "Which is two?", "choices": ["1", "2"], "answer": 1, "image": None, **facts, "hint": "Count."}
    dump_json(tmp_path / "problems.json", {"5": {**one, "subject": "art"}, "11": {**two, "subject": "number"}})
    dump_json(tmp_path / "pid_splits.json", {"train": [], "val": [], "test": ["5", "11"]})
    turns = [{"from": "human", "value": "Context: N/A\nQuestion: ...\n<image>"}, {"from": "gpt", "value": "The answer"}]
    dump_json(
        tmp_path / "llava_test_CQM-A.json", [{"id": "5", "image": "5/image.png", "conversations": turns}], indent=2
    )
    line = json.dumps({"id": "11", "instruction": "...", "output": "..."})
    (tmp_path / "scienceqa_test_QCM-LEPA.jsonl").write_text(line + "\n", encoding="utf-8")
    put_image(tmp_path / "images/test/5/image.png", 5)
    first, second = read("scienceqa", tmp_path)
    assert (first.key, first.references, first.group, shows(first, 5)) == ("5", ("A",), "art", True)
    assert (second.key, second.references, second.image) == ("11", ("B",), None)
    assert second.question.startswith("Context: Count.\nWhich is two?\nA. 1\nB. 2\n")


def test_gqa_as_llava_keeps_it(tmp_path: Path) -> None:
    """LLaVA's gqa.sh expects questions and images in a folder data/ of its folder gqa; its script for answers writes
    testdev_balanced_predictions.json there."""
    asked = {"semantic": [], "entityChains": [], "question": "Is it red?", "imageId": "n12", "isBalanced": True}
    told = {"answer": "yes", "types": {"detailed": "d", "semantic": "attr", "structural": "verify"}, "fullAnswer": "Y."}
    dump_json(tmp_path / "data/testdev_balanced_questions.json", {"201": {**asked, **told}})
    dump_json(tmp_path / "data/testdev_balanced_predictions.json", [{"questionId": "201", "prediction": "yes"}])
    put_image(tmp_path / "data/images/n12.jpg", 12)
    (found,) = read("gqa", tmp_path)
    assert (found.key, found.references, found.group, shows(found, 12)) == ("201", ("yes",), "verify", True)


@pytest.mark.parametrize("name", ["vizwiz", "vqav2"])
def test_open_questions_as_the_notebook_of_lmms_eval_makes_them(tmp_path: Path, name: str) -> None:
    """lmms-eval's make_image_hf_dataset.ipynb reads questions in VQA's form, adds each image, and pushes the splits
    val, test and test_dev: data/val-00000-of-00001.parquet, with the image as the last column."""
    people = [{"answer": "yes", "answer_confidence": "yes", "answer_id": number} for number in range(1, 11)]

    def rows() -> Any:
        for number in range(2):
            row = {"image_id": number, "question": f"Is it {number}?", "question_id": 1000 * number, "answers": people}
            yield {**row, "image": Image.open(tmp_path / f"from/COCO_val2014_{number:012}.jpg")}

    for number in range(2):
        put_image(tmp_path / f"from/COCO_val2014_{number:012}.jpg", number)
    made = datasets.Dataset.from_generator(rows, cache_dir=str(tmp_path / "cache"))
    push(dict.fromkeys(("val", "test", "test_dev"), made), tmp_path / "set/data")
    found = read(name, tmp_path / "set")
    assert [(each.key, each.references) for each in found] == [("0", ("yes",) * 10), ("1000", ("yes",) * 10)]
    assert [shows(each, number) for number, each in enumerate(found)] == [True, True]


def put_tsv(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """As VLMEvalKit's `dump` writes a TSV: every cell is quoted, a missing one is empty."""
    table = pd.DataFrame(rows)
    table.to_csv(file, sep="\t", index=False, encoding="utf-8", quoting=csv.QUOTE_ALL)


def in_base64(number: int) -> str:
    return base64.b64encode(encoded(photo(number, 32), "PNG")).decode()


def test_mm_safetybench_as_vlmevalkit_writes_it(tmp_path: Path) -> None:
    """VLMEvalKit's `dump` writes index, image, question, answer and category, with all cells quoted."""
    words = 'The bottom of the image shows "a phrase".\nList\tit.'
    rows = [
        {"index": number, "image": in_base64(number), "question": words, "answer": np.nan, "category": scenario}
        for number, scenario in enumerate(CRITERIA)
    ]
    put_tsv(tmp_path / "MMSafetyBench.tsv", rows)
    found = read("mm-safetybench", tmp_path)
    assert [each.group for each in found] == [*CRITERIA]
    assert {each.question for each in found} == {words}
    assert [shows(each, number) for number, each in enumerate(found)] == [True] * len(CRITERIA)


def test_mmbench_as_vlmevalkit_writes_it(tmp_path: Path) -> None:
    """VLMEvalKit's `dump`: NaN for options that are not there, and in later rows the index of an equal image."""
    options = {"A": "red", "B": "0.5", "C": "None", "D": np.nan}
    first = {"index": 4, "question": 'Which "one"?', "hint": "Two\nlines.", **options, "answer": "C", "category": "c"}
    first |= {"image": in_base64(4), "l2-category": "l", "comment": np.nan, "split": "dev"}
    turned = {"index": 1_000_004, "A": "0.5", "B": "None", "C": "red", "answer": "B", "hint": np.nan, "image": "4"}
    put_tsv(tmp_path / "MMBench_DEV_EN.tsv", [first, {**first, **turned}])
    one, other = read("mmbench", tmp_path)
    assert one.question.startswith('Two\nlines.\nWhich "one"?\nA. red\nB. 0.5\nC. None\nAnswer')
    assert (one.references, other.references, one.cluster, other.cluster) == (("C",), ("B",), "4", "4")
    assert shows(one, 4) and shows(other, 4)


def test_siuo_as_its_repository_is_unpacked(tmp_path: Path) -> None:
    """SIUO's README: the images are unpacked into data/images of the clone, beside data/siuo_gen.json, which is a list
    indented by 4."""
    row = {"question_id": 1001, "image": "S-01.png", "question": "What fits?", "category": "c", "safety_warning": "w"}
    dump_json(tmp_path / "data/siuo_gen.json", [{**row, "reference_answer": "r"}], indent=4, ensure_ascii=False)
    put_image(tmp_path / "data/images/S-01.png", 1)
    (found,) = read("siuo", tmp_path)
    assert (found.key, found.question, found.context, shows(found, 1)) == ("1001", "What fits?", "w", True)


def vlsbench_rows() -> list[dict[str, Any]]:
    told = {"category": "c", "sub_category": "s", "source": "generation", "image_description": "d"}
    row = {"instruction_id": 0, "instruction": "What next?", "image_path": "imgs/0.png", **told, "safety_reason": "r"}
    return [row, {**row, "instruction_id": "1685", "instruction": "", "image_path": "imgs/1.png"}]


@pytest.mark.parametrize("place", ["data.json", "data/data.json"])
def test_vlsbench_as_published_with_its_empty_instruction(tmp_path: Path, place: str) -> None:
    """VLSBench's data.json is a list, in data/ of the clone and at the root of the hub's copy. The instruction of its
    id 1685 is an empty text, which asks nothing; some ids are numbers, some texts."""
    dump_json(tmp_path / place, vlsbench_rows(), indent=2)
    for number in range(2):
        put_image(tmp_path / f"imgs/{number}.png", number)
    (found,) = read("vlsbench", tmp_path)
    assert (found.key, found.question, found.group, shows(found, 0)) == ("0", "What next?", "s", True)


def test_vlsbench_with_another_empty_instruction_is_refused(tmp_path: Path) -> None:
    dump_json(tmp_path / "data.json", [{**vlsbench_rows()[0], "instruction": ""}])
    put_image(tmp_path / "imgs/0.png", 0)
    with pytest.raises(ConfigError, match="asks nothing"):
        read("vlsbench", tmp_path)


def test_mossbench_as_its_repository_has_it(tmp_path: Path) -> None:
    """MOSSBench's information.json is an object of rows by pid, indented by 4; images are named from data/."""
    row = {"image": "images/1.png", "short description": "a toy", "question": "Which game?"}
    row |= {"metadata": {"over": "type 1"}, "pid": "1", "description": "d"}
    dump_json(tmp_path / "data/images_information/information.json", {"1": row}, indent=4)
    put_image(tmp_path / "data/images/1.png", 1)
    (found,) = read("mossbench", tmp_path)
    assert (found.key, found.group, found.context, shows(found, 1)) == ("1", "exaggerated risk", "a toy", True)


def test_msts_as_its_scripts_leave_it(tmp_path: Path) -> None:
    """MSTS has data/prompts/LANGUAGE_multimodal.csv, of which only the English one has prompt_id.

    Its 0_download_images.py writes data/unsafe_images/ID.jpg or ID.png, by the ending in the image's address.
    """
    about = {"hazard_category": "h", "hazard_subcategory": "s", "hazard_subsubcategory": "t", "case_id": "case 1"}
    about |= {"case_text": "words", "unsafe_image_description": "a ladder"}
    (tmp_path / "data/prompts").mkdir(parents=True)
    for language, number in (("english", 1), ("german", 2)):
        row = {**about, "unsafe_image_id": f"image {number}", "prompt_text": "Ja, gut?", "prompt_type": "should_i"}
        row |= {"prompt_id": "p1"} if language == "english" else {}
        pd.DataFrame([row]).to_csv(tmp_path / f"data/prompts/{language}_multimodal.csv", index=False)
    pd.DataFrame([about]).to_csv(tmp_path / "data/prompts/english_textonly.csv", index=False)
    put_image(tmp_path / "data/unsafe_images/image 1.jpg", 1)
    put_image(tmp_path / "data/unsafe_images/image 2.png", 2)
    first, second = read("msts", tmp_path)
    assert [(each.subset, each.key) for each in (first, second)] == [
        ("english", "case 1/should_i"),
        ("german", "case 1/should_i"),
    ]
    assert (first.question, first.cluster, first.context) == ("Ja, gut?", "image 1", "a ladder")
    assert shows(first, 1) and shows(second, 2)


def test_or_bench_as_its_scripts_append_it(tmp_path: Path) -> None:
    """OR-Bench's scripts append to a CSV with pandas, with a header only where the file is new: prompt and category;
    prompts that were rewritten have toxic_seed between them."""
    for number in range(2):
        seeds = [f'Placeholder {number}, with a comma and "quotes"', f"two\nlines {number}"]
        for name, cells in (
            ("or-bench-toxic", {"prompt": seeds}),
            ("or-bench-hard-1k", {"prompt": [f"{seed} again" for seed in seeds], "toxic_seed": seeds}),
        ):
            file = tmp_path / f"{name}.csv"
            table = pd.DataFrame({**cells, "category": ["privacy"] * 2})
            table.to_csv(file, index=False, header=not file.exists(), mode="a")
    found = read("or-bench", tmp_path)
    assert Counter((each.subset, each.wants) for each in found) == {("hard-1k", "help"): 4, ("toxic", "refuse"): 4}
    assert [each.question for each in found if each.subset == "toxic"][2:] == [
        'Placeholder 1, with a comma and "quotes"',
        "two\nlines 1",
    ]


def test_figstep_as_its_repository_has_it(tmp_path: Path) -> None:
    """FigStep's safebench.csv has dataset, category_id, task_id, category_name, question and instruction.

    Images are query_DATASET_CATEGORY_TASK_6.png, where 6 is the kind of query in its generate_prompts.py.
    """
    row = {"dataset": "ForbidQI", "category_id": 2, "task_id": 3, "category_name": "c", "question": "What is it?"}
    (tmp_path / "data/question").mkdir(parents=True)
    pd.DataFrame([{**row, "instruction": "Parts of it."}]).to_csv(tmp_path / "data/question/safebench.csv", index=False)
    put_image(tmp_path / "data/images/SafeBench/query_ForbidQI_2_3_6.png", 6)
    (found,) = read("figstep", tmp_path)
    assert (found.key, found.group, found.context, shows(found, 6)) == ("2_3", "c", "What is it?", True)
    assert found.question.startswith("The image shows a list")
