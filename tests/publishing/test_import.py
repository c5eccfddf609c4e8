"""Data sets made elsewhere, brought in: the published SPA-VL with all its traps, spavl's own, and TRL's form."""

import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from spavl.cli.main import main
from spavl.data.dataset import published
from spavl.data.dataset.shards import IMAGE
from spavl.records import Category, Image, PublishedFacts, Question, Sample
from spavl.store import RunFolder
from tests.pipeline.test_pipeline import Walked, by_id, rejects, rows, settings, walk, walked

__all__ = ["walked"]

BROKEN = ("Representation & ToxicityHarms", "Unfair", "racial")
OTHER = ("Human Autonomy & IntegrityHarms", "Persuasion and manipulation", "physical harm")
RESPONDERS = ("Otter", "QwenVL", "gemini", "gemini_jb")


def an_image(number: int, shade: int = 0) -> bytes:
    """An image that looks like no other; one of another shade is nearly the same."""
    coarse = Pillow.frombytes("L", (8, 8), random.Random(number).randbytes(64))
    buffer = io.BytesIO()
    coarse.resize((64, 48)).point(lambda value: min(255, value + shade)).save(buffer, "PNG")
    return buffer.getvalue()


def a_row(number: int, **more: Any) -> dict[str, Any]:
    image = {"bytes": an_image(number), "path": f"{number}.jpg"}
    return {"image": image, "question": f"what about number {number} ?", **more}


def a_pair(number: int, **more: Any) -> dict[str, Any]:
    return a_row(number, chosen=f"no, not {number}", rejected=f"yes, {number}", **more)


def write(file: Path, table: list[dict[str, Any]], schema: pa.Schema) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table, schema=schema), file)


def classes(raw: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(published.CLASSES, raw, strict=True))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small copy in the published layout. Rows 1 to 6 teach; 7 is twice there, 8 teaches nothing, 9 is no image."""
    folder = tmp_path / "SPA-VL"
    named = [a_pair(number, image_name=f"{number}.jpg") for number in (1, 2, 3, 4, 5, 6, 7, 7, 8, 9)]
    named[8]["rejected"] = named[8]["chosen"]
    named[9]["image"]["bytes"] = b"<svg/>"
    write(folder / "data" / "train-00000-of-00001.parquet", named, published.TRAIN)
    validation = [a_pair(number, **classes(BROKEN)) for number in (20, 21)]
    write(folder / "validation" / "validation-00000-of-00001.parquet", validation, published.VALIDATION)
    harm = [a_row(number, **classes(BROKEN)) for number in (30, 31)]
    help_ = [a_row(number, **classes(OTHER)) for number in (32, 3)]
    write(folder / "test" / "harm-00000-of-00001.parquet", harm, published.TEST)
    write(folder / "test" / "help-00000-of-00001.parquet", help_, published.TEST)
    write_meta(folder / "meta_files")
    return folder


def write_meta(folder: Path) -> None:
    info = [
        {"image": f"{n}.jpg", "url": f"http://example.org/{n}", **classes(BROKEN if n % 2 else OTHER)}
        for n in range(1, 9)
    ]
    files: dict[str, list[dict[str, Any]]] = {"image_info/meta.json": info}
    for kind, numbers in (("easy", (1, 2)), ("hardq", (3, 4)), ("hards", (5, 6, 7, 8))):
        asked = [{"image": f"{n}.jpg", "question": f"what about number {n} ?"} for n in numbers]
        answers = [(f"yes, {n}", f"no, not {n}", "hm", f"yes, {n}") for n in numbers]
        files[f"model_answer/{kind}.json"] = [
            {**row, **dict(zip(RESPONDERS, own, strict=True))} for row, own in zip(asked, answers, strict=True)
        ]
        files[f"prefer/{kind}.json"] = [{**row, "reason1": "safer", "reason2": "kinder"} for row in asked]
        words = ("unsafe", "safe", "safe", "unsafe")
        files[f"safety/{kind}.json"] = [{**row, **dict(zip(RESPONDERS, words, strict=True))} for row in asked]
    for name, table in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(table, indent=1))


def bring_in(name: Path, out: Path, *options: str) -> Path:
    assert main(["data", "import", str(name), "--out", str(out), *options]) == 0
    return out


def test_meta_files_give_back_class_kind_models_and_reasons(copy: Path, tmp_path: Path) -> None:
    run = bring_in(copy, tmp_path / "run")
    train = {sample.question.split()[3]: sample for sample in rows(run, "dataset", Sample) if sample.split == "train"}
    assert set(train) == set("1234567")
    assert [train[n].kind for n in "123456"] == ["easy", "easy", "hard", "hard", "statement", "statement"]
    assert {sample.chosen_model for sample in train.values()} == {"QwenVL"}
    assert {sample.rejected_model for sample in train.values()} == {"Otter or gemini_jb"}, "two gave that answer"
    images, categories = by_id(run, "selection", Image), by_id(run, "taxonomy", Category)
    assert images[train["1"].image_id].source == "http://example.org/1"
    category = categories[images[train["1"].image_id].category_id]
    assert (category.domain, category.leaf) == ("Representation & Toxicity Harms", "racial"), "repaired"
    assert category.published == BROKEN, "and as it was"
    assert {category.domain for category in categories.values()} == {
        "Representation & Toxicity Harms",
        "Human Autonomy & Integrity Harms",
    }
    (said,) = [row for row in rows(run, "published", PublishedFacts) if row.sample_id == train["1"].id]
    assert (said.reasons, said.chosen_label, said.rejected_label) == (("safer", "kinder"), "safe", "unsafe")


def test_what_cannot_teach_is_left_out_with_its_reason(copy: Path, tmp_path: Path) -> None:
    run = bring_in(copy, tmp_path / "run")
    assert {row.parent_id: row.reason for row in rejects(run, "dataset")} == {
        "row 7": "duplicate",
        "row 8": "same_text",
        "row 9": "undecodable",
    }
    tests = rows(run, "questions", Question)
    assert {(question.text.split()[3], question.harmful) for question in tests} == {
        ("30", True),
        ("31", True),
        ("32", False),
        ("3", False),
    }


def test_an_image_of_the_tests_among_the_training_rows_is_found_and_can_be_left_out(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published columns cannot show it: validation and test have no image_name."""
    bring_in(copy, tmp_path / "run")
    assert "leaks between splits" in capsys.readouterr().out
    told = [json.loads(line) for line in (tmp_path / "run" / "leaks.jsonl").read_text().splitlines()]
    assert [each["reason"] for each in told] == ["leak_equal_image"]
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert f"that are in two splits: {len(told)} (`leaks.jsonl`)" in card
    assert "No image is in two splits" not in card
    run = bring_in(copy, tmp_path / "strict", "--drop-leaks")
    assert "No image is in two splits" in (run / "dataset" / "README.md").read_text()
    train = [sample.question.split()[3] for sample in rows(run, "dataset", Sample) if sample.split == "train"]
    assert sorted(train) == list("124567")
    assert "leak_equal_image" in {row.reason for row in rejects(run, "dataset")}


def test_an_image_that_was_saved_again_is_found_too(tmp_path: Path) -> None:
    again = a_row(1, **classes(OTHER))
    again["image"]["bytes"] = an_image(1, shade=2)
    again["question"] = "something else entirely ?"
    write(tmp_path / "set" / "train-0.parquet", [a_pair(n, image_name=f"{n}.jpg") for n in range(9)], published.TRAIN)
    write(tmp_path / "set" / "harm-0.parquet", [again], published.TEST)
    run = bring_in(tmp_path / "set", tmp_path / "run", "--drop-leaks")
    assert {row.reason for row in rejects(run, "dataset")} == {"leak_near_image"}
    assert len(rows(run, "dataset", Sample)) == 8


GENERIC = "Describe this image in detail."


def coarse(numbers: range) -> Iterator[bytes]:
    for number in numbers:
        stream = io.BytesIO()
        Pillow.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64)).save(
            stream, "JPEG"
        )
        yield stream.getvalue()


@pytest.mark.slow
def test_one_question_about_hundreds_of_images_leaks_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Written by pandas. Of pairs of a training row and a validation row there are 90,000."""
    for name, numbers in (("train", range(900)), ("validation", range(900, 1000))):
        table = [
            {
                "image": {"bytes": data, "path": f"{n}.jpg"},
                "question": GENERIC,
                "chosen": f"a {n}",
                "rejected": f"b {n}",
            }
            for n, data in zip(numbers, coarse(numbers), strict=True)
        ]
        (tmp_path / "set").mkdir(exist_ok=True)
        pd.DataFrame(table).to_parquet(tmp_path / "set" / f"{name}-00000-of-00001.parquet")
    run = bring_in(tmp_path / "set", tmp_path / "run", "--drop-leaks")
    assert Counter(sample.split for sample in rows(run, "dataset", Sample)) == {"train": 900, "validation": 100}
    (told,) = (json.loads(line) for line in (run / "leaks.jsonl").read_text().splitlines())
    assert told == {"reason": "repeated_question", "question": GENERIC, "asked": {"train": 900, "validation": 100}}
    assert "1 question is asked in two splits, about different images: no leak" in capsys.readouterr().out
    assert "asked in two splits, about different images: 1 (" in (run / "dataset" / "README.md").read_text()


def test_an_image_that_was_saved_again_leaks_and_its_question_with_it(tmp_path: Path) -> None:
    """Written by datasets, which saves the images itself."""
    images = [Pillow.open(io.BytesIO(data)) for data in coarse(range(40))]
    stream = io.BytesIO()
    images[7].resize((96, 96)).save(stream, "JPEG", quality=60)
    asked = "What would somebody who knows this street say about the tall house on its left side at night?"

    def saved(name: str, shown: list[Pillow.Image], question: str) -> None:
        columns = {"image": shown, "question": [GENERIC] * (len(shown) - 1) + [question]}
        columns |= {side: [f"{side} {n}" for n in range(len(shown))] for side in ("chosen", "rejected")}
        (tmp_path / "set").mkdir(exist_ok=True)
        kinds = datasets.Features({each: datasets.Value("string") for each in columns} | {"image": datasets.Image()})
        datasets.Dataset.from_dict(columns, kinds).to_parquet(tmp_path / "set" / f"{name}-00000-of-00001.parquet")

    saved("train", [*images[:7], *images[8:30], images[7]], asked)
    saved("validation", [*images[30:], Pillow.open(stream)], asked.replace("tall", "small"))
    run = bring_in(tmp_path / "set", tmp_path / "run", "--drop-leaks")
    left = Counter((sample.split, sample.question) for sample in rows(run, "dataset", Sample))
    assert left == {
        ("train", GENERIC): 29,
        ("validation", GENERIC): 10,
        ("validation", asked.replace("tall", "small")): 1,
    }
    told = [json.loads(line) for line in (run / "leaks.jsonl").read_text().splitlines()]
    assert [each["reason"] for each in told] == ["leak_near_image", "repeated_question"]
    assert told[1]["question"] == GENERIC, "the other question has gone with its image"


def test_without_meta_files_the_classes_are_unknown_and_nothing_is_made_up(copy: Path, tmp_path: Path) -> None:
    for file in sorted((copy / "meta_files").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    run = bring_in(copy, tmp_path / "run")
    train = [sample for sample in rows(run, "dataset", Sample) if sample.split == "train"]
    assert {(s.leaf, s.kind, s.contrast, s.harmful, s.chosen_model) for s in train} == {
        ("unknown", "unknown", "unknown", None, "unknown")
    }


def test_a_meta_file_that_was_cut_short_is_named(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copy / "meta_files" / "prefer" / "easy.json"
    file.write_text(file.read_text()[:-30])
    assert main(["data", "import", str(copy), "--out", str(tmp_path / "run")]) == 2
    assert "easy.json" in capsys.readouterr().err


PUBLISHED = ("data", "validation", "test", "held_out")


@pytest.mark.parametrize("rich", [False, True])
def test_what_was_published_comes_back_as_it_went(walked: Walked, tmp_path: Path, rich: bool) -> None:
    source = walked.run / "dataset"
    if not rich:
        source = tmp_path / "plain"
        for name in PUBLISHED:
            for file in (walked.run / "dataset" / name).iterdir():
                (source / name).mkdir(parents=True, exist_ok=True)
                (source / name / file.name).write_bytes(file.read_bytes())
    run = bring_in(source, tmp_path / "run")
    for name in PUBLISHED:
        for file in sorted((source / name).iterdir()):
            went, came = (pq.read_table(folder / name / file.name) for folder in (source, run / "dataset"))
            assert went.schema.equals(came.schema)
            assert sorted(map(str, went.to_pylist())) == sorted(map(str, came.to_pylist()))
    if rich:
        kept = ("split", "leaf", "kind", "harmful", "contrast", "question", "chosen", "rejected", "rejected_model")
        went_, came_ = (
            sorted(str([getattr(sample, name) for name in kept]) for sample in rows(folder, "dataset", Sample))
            for folder in (walked.run, run)
        )
        assert went_ == came_
        said = rows(run, "published", PublishedFacts)
        assert len(said) == len(came_) and {each.chosen_label for each in said} == {"safe"}


@pytest.mark.parametrize("raw", [BROKEN, ("", "", "")])
def test_every_test_row_comes_in_however_many_a_leaf_has_and_each_once(
    tmp_path: Path, raw: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "set" / "data" / "train-0.parquet", [a_pair(1, image_name="1.jpg")], published.TRAIN)
    for folder, first in (("test", 10), ("held_out", 30)):
        tests = [a_row(number, **classes(raw)) for number in range(first, first + 9)]
        write(tmp_path / "set" / folder / "harm-0.parquet", [*tests, tests[0]], published.TEST)
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert "1 train, 9 test, 9 held_out rows" in (told := capsys.readouterr().out)
    assert "left out: 2 duplicate" in told
    for folder, first in (("test", 10), ("held_out", 30)):
        (file,) = (run / "dataset" / folder).glob("harm-*")
        came = {row["question"] for row in pq.read_table(file).to_pylist()}
        assert came == {f"what about number {number} ?" for number in range(first, first + 9)}


def test_a_set_that_was_brought_in_has_its_card_at_once_with_the_license_it_is_given(
    copy: Path, tmp_path: Path
) -> None:
    run = bring_in(copy, tmp_path / "run", "--license", "cc-by-4.0")
    card = (run / "dataset" / "README.md").read_text()
    assert 'license: "cc-by-4.0"' in card and f"they come from {copy.name}" in card and str(tmp_path) not in card
    assert "were wanted" not in card, "it has the tests that it came with"


MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def test_a_trl_preference_set_comes_in_whatever_way_it_writes_its_prompt(tmp_path: Path) -> None:
    def turn(role: str, content: str) -> dict[str, str]:
        return {"role": role, "content": content}

    def row(number: int, asked: list[dict[str, str]], images: int = 1) -> dict[str, Any]:
        return {
            "images": [{"bytes": an_image(number + k), "path": None} for k in range(images)],
            "chosen": [*asked, turn("assistant", f"no {number}")],
            "rejected": [*asked, turn("assistant", f"yes {number}")],
        }

    table = [row(n, [turn("user", f"what {n} ?")]) for n in range(60)]
    table.append(row(70, [turn("user", "a"), turn("assistant", "b"), turn("user", "c")]))
    table.append(row(80, [turn("user", "two")], images=2))
    schema = pa.schema([("images", pa.list_(IMAGE)), ("chosen", MESSAGES), ("rejected", MESSAGES)])
    write(tmp_path / "set" / "train-0.parquet", table, schema)
    run = bring_in(tmp_path / "set", tmp_path / "run")
    samples = rows(run, "dataset", Sample)
    assert {(s.question, s.chosen, s.rejected) for s in samples} == {
        (f"what {n} ?", f"no {n}", f"yes {n}") for n in range(60)
    }
    assert {sample.split for sample in samples} == {"train", "validation"}, "a set without validation gets one"
    assert {row.reason for row in rejects(run, "dataset")} == {"no_single_question", "several_images"}


ORDERS = "Answer in French."


def openai_form(number: int, system: str | None) -> dict[str, Any]:
    asked = [{"role": "system", "content": system}] * (system is not None)
    asked = [*asked, {"role": "user", "content": f"what {number} ?"}]
    sides = {"chosen": f"no {number}", "rejected": f"yes {number}"}
    return {"prompt": asked, **{name: [{"role": "assistant", "content": text}] for name, text in sides.items()}}


def without_prompt_form(number: int, system: str | None) -> dict[str, Any]:
    row = openai_form(number, system)
    asked = row.pop("prompt")
    return {name: asked + turns for name, turns in row.items()}


def sharegpt_form(number: int, system: str | None) -> dict[str, Any]:
    asked = [{"from": "system", "value": system}] * (system is not None)
    return {
        "conversations": [*asked, {"from": "human", "value": f"<image>what {number} ?"}],
        "chosen": {"from": "gpt", "value": f"no {number}"},
        "rejected": {"from": "gpt", "value": f"yes {number}"},
    }


def llamafactory_form(number: int, system: str | None) -> dict[str, Any]:
    return {**sharegpt_form(number, None), "system": system}


def ms_swift_form(number: int, system: str | None) -> dict[str, Any]:
    row = openai_form(number, system)
    row["prompt"][-1]["content"] = f"<image>what {number} ?"
    return {"messages": row["prompt"] + row["chosen"], "rejected_response": f"yes {number}"}


FORMS = (openai_form, without_prompt_form, sharegpt_form, llamafactory_form, ms_swift_form)


@pytest.mark.parametrize("writer", [pytest.param("datasets", marks=pytest.mark.slow), "pandas"])
@pytest.mark.parametrize("form", FORMS)
def test_a_system_prompt_is_never_dropped_without_a_word(
    form: Any, writer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answers were written under it; without it the same row would teach something else."""
    images = [{"images": [{"bytes": an_image(number), "path": None}]} for number in range(6)]
    orders = (None, ORDERS, " ", ORDERS, "Be brief.", None)
    table = [image | form(number, orders[number]) for number, image in enumerate(images)]
    file = tmp_path / "set" / "train-00000-of-00001.parquet"
    file.parent.mkdir()
    if writer == "datasets":
        datasets.Dataset.from_list(table).to_parquet(str(file))
    else:
        pd.DataFrame(table).to_parquet(file)
    run = bring_in(tmp_path / "set", tmp_path / "run", "--license", "mit")
    told = capsys.readouterr().out
    assert "left out: 3 system_prompt" in told and "--drop-system-prompts" in told

    def came(folder: Path) -> set[tuple[str, str, str]]:
        return {(s.question, s.chosen, s.rejected) for s in rows(folder, "dataset", Sample)}

    assert came(run) == {(f"what {n} ?", f"no {n}", f"yes {n}") for n in (0, 2, 5)}
    assert "system prompt 3" in (run / "dataset" / "README.md").read_text()
    run = bring_in(tmp_path / "set", tmp_path / "dropped", "--drop-system-prompts")
    assert came(run) == {(f"what {n} ?", f"no {n}", f"yes {n}") for n in range(6)}
    assert "3 pairs came with a system prompt (2 texts)" in (run / "dataset" / "README.md").read_text()


def test_turns_that_are_not_one_question_with_two_answers_are_not_made_into_one(tmp_path: Path) -> None:
    """Answers of other conversations, and what was said before the last question, were left out without a word."""
    rows_ = [openai_form(number, None) for number in range(4)]
    rows_[1]["chosen"] = [
        {"role": "assistant", "content": "well"},
        {"role": "user", "content": "and ?"},
        *rows_[1]["chosen"],
    ]
    rows_[2] = without_prompt_form(2, None)
    rows_[2]["rejected"][0] = {"role": "user", "content": "something else ?"}
    rows_[3]["prompt"][0]["role"] = "assistant"
    table = [{"images": [{"bytes": an_image(n), "path": None}], "prompt": [], **row} for n, row in enumerate(rows_)]
    (tmp_path / "set").mkdir()
    datasets.Dataset.from_list(table).to_parquet(str(tmp_path / "set" / "train-0.parquet"))
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert {row.parent_id: row.reason for row in rejects(run, "dataset")} == {
        f"row {n}": "no_single_question" for n in (1, 2, 3)
    }


def test_a_build_goes_on_from_what_was_brought_in(copy: Path, walked: Walked, tmp_path: Path) -> None:
    run = bring_in(copy, tmp_path / "run", "--drop-leaks")
    config = settings(walked.taxonomy, walked.server.url)
    asked = walked.server.seen.total()
    walk(config, run)
    with RunFolder(run) as opened:
        assert opened.manifest("dataset") and not opened.manifest("responses")
    assert walked.server.seen.total() == asked, "nothing was made that was brought in"
    assert "come from" in (run / "dataset" / "README.md").read_text()
    summary = json.loads((run / "summary.json").read_text())
    assert list(summary["stages"]) == ["taxonomy", "selection", "questions", "dataset"]
    assert summary["models"] == {}


def test_a_folder_without_data_says_what_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "import", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "train-*.parquet" in capsys.readouterr().err


@pytest.mark.parametrize("shape", ["bytes", "struct", "list of bytes", "images"])
def test_images_come_in_from_whatever_shape_pandas_writes(tmp_path: Path, shape: str) -> None:
    encoded_images = [an_image(number) for number in range(4)]
    images: list[Any] = {
        "bytes": encoded_images,
        "struct": [{"bytes": data} for data in encoded_images],
        "list of bytes": [[data] for data in encoded_images],
        "images": [[{"bytes": data, "path": None}] for data in encoded_images],
    }[shape]
    images[3] = None
    texts = {name: [f"{name} of number {n}" for n in range(4)] for name in ("question", "chosen", "rejected")}
    (tmp_path / "set").mkdir()
    table = pd.DataFrame({**texts, "images" if shape == "images" else "image": images})
    table.to_parquet(tmp_path / "set" / "train-0.parquet")
    run = bring_in(tmp_path / "set", tmp_path / "run")
    assert {row.parent_id: row.reason for row in rejects(run, "dataset")} == {"row 3": "no_image"}
    with RunFolder(run, look_only=True) as opened:
        came = {sample.question[-1]: opened.blobs.get(sample.blob) for sample in opened.read("dataset", Sample)}
    assert came == {str(number): encoded_images[number] for number in range(3)}


def test_a_column_that_holds_no_images_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {name: [name] for name in ("question", "chosen", "rejected")}
    (tmp_path / "set").mkdir()
    pd.DataFrame({**texts, "image": ["https://example.org/1.png"]}).to_parquet(tmp_path / "set" / "train-0.parquet")
    assert main(["data", "import", str(tmp_path / "set"), "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert "the column image is " in told and "which holds no images" in told and "train-0.parquet" in told


def imported(folder: Path, out: Path, **row: Any) -> int:
    """As pandas writes a row with an image."""
    (folder / "data").mkdir(parents=True)
    pd.DataFrame([{**row, "image": {"bytes": an_image(1)}}]).to_parquet(folder / "data" / "train-0.parquet")
    return main(["data", "import", str(folder), "--out", str(out)])


def test_a_system_prompt_of_another_name_is_no_less_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It was dropped without a word; and an import that leaves all rows out was a success."""
    asked = {"question": "What?", "chosen": "No.", "rejected": "Yes.", "system_prompt": "Be a pirate."}
    assert imported(tmp_path / "in", tmp_path / "out", **asked) != 0
    assert "every row is left out: 1 system_prompt" in capsys.readouterr().err


def test_columns_of_texts_that_nothing_reads_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"question": "What?", "chosen": "No.", "rejected": "Yes.", "instruction": "Be a pirate."}
    assert imported(tmp_path / "in", tmp_path / "out", **asked) == 0
    told = capsys.readouterr()
    assert "nothing reads the columns instruction;" in told.out + told.err


def test_answers_beside_a_question_may_be_conversations(tmp_path: Path) -> None:
    """They ended in an AttributeError."""
    turn = lambda text: [{"role": "user", "content": "What?"}, {"role": "assistant", "content": text}]  # noqa: E731
    assert imported(tmp_path / "in", tmp_path / "out", question="What?", chosen=turn("No."), rejected=turn("Yes.")) == 0
    with RunFolder(tmp_path / "out") as run:
        (found,) = run.read("dataset", Sample)
    assert (found.question, found.chosen, found.rejected) == ("What?", "No.", "Yes.")


BOTH_FOUND = {"email": 1, "phone": 1}


def personal_copy(folder: Path) -> Path:
    """Three pairs: one with an e-mail address in an answer, one with a phone number in the question, one without."""
    rows = [a_pair(number, image_name=f"{number}.jpg") for number in (1, 2, 3)]
    rows[0]["chosen"] = "Write to jane.doe@univ-lyon.fr, she knows."
    rows[1]["question"] = "Whose number is (212) 736-5000 ?"
    write(folder / "data" / "train-00000-of-00001.parquet", rows, published.TRAIN)
    return folder


@pytest.mark.parametrize(
    ("action", "rows", "found"),
    [("keep", 3, None), ("count", 3, BOTH_FOUND), ("redact", 3, BOTH_FOUND), ("drop", 1, BOTH_FOUND)],
)
def test_personal_data_of_an_imported_set_is_kept_counted_removed_or_left_out(
    action: str, rows: int, found: dict[str, int] | None, tmp_path: Path
) -> None:
    run = bring_in(personal_copy(tmp_path / "set"), tmp_path / "run", "--personal-data", action)
    with RunFolder(run, look_only=True) as opened:
        samples = list(opened.read("dataset", Sample))
        manifest = opened.manifest("dataset")
    text = " ".join(part for sample in samples for part in (sample.question, sample.chosen, sample.rejected))
    assert len(samples) == rows
    assert ("jane.doe" in text, "736-5000" in text) == ((action in ("keep", "count")),) * 2
    assert text.count(" removed]") == (2 if action == "redact" else 0)
    assert manifest is not None
    notes = manifest.notes.get("personal_data")
    card = (run / "dataset" / "README.md").read_text()
    if found is None:
        assert notes is None and "Not looked for: personal data in the texts" in card
    else:
        assert (notes["action"], notes["rows"], notes["rows_with"]) == (action, 6, 2)
        assert notes["dropped"] == 3 - rows and manifest.rejects.get("personal_data", 0) == 3 - rows
        assert "| imported texts | 6 | 2 |" in card
        assert notes["found"] == found
    if action in ("redact", "drop"):
        # Nothing that was written holds the values.
        written = b"".join(file.read_bytes() for file in run.rglob("*") if file.is_file())
        assert b"jane.doe" not in written and b"736-5000" not in written
