"""Training data as the scripts of TRL, LLaVA, VLGuard, ms-swift and LLaMA-Factory write it, to import and to audit.

Each test writes the file as its docstring describes the script.
"""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spavl.data.dataset.config import DatasetConfig
from spavl.errors import ConfigError
from spavl.evaluation.contamination.training_data import taught_by
from spavl.publishing.importing.bring_in import ImportResult, bring_in
from spavl.publishing.importing.row_checks import RowsRead
from spavl.records import Sample
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.foreign_files.pushed import push
from tests.foreign_files.readers import by_overlaps
from tests.support.images import encoded, photo, pixels

SFT = RowsRead(one_answer=True)


def brought_in(folder: Path, work: Path, reads: RowsRead | None = None) -> tuple[ImportResult, list[Sample]]:
    result = bring_in(str(folder), work / "run", DatasetConfig(), Screen(), reads or RowsRead())
    with RunFolder(work / "run", look_only=True) as run:
        return result, sorted(run.read("dataset", Sample), key=lambda sample: sample.question)


def texts(samples: list[Sample]) -> list[tuple[str, str, str]]:
    return [(sample.question, sample.chosen, sample.rejected) for sample in samples]


def put_image(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    photo(number, 32).save(file, "PNG")


def of_rlaif_v(row: dict[str, Any]) -> dict[str, Any]:
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": row["question"]}]}]
    told = {
        side: [{"role": "assistant", "content": [{"type": "text", "text": row[side]}]}]
        for side in ("chosen", "rejected")
    }
    return {"prompt": asked, "images": [row["image"]], **told}


def rlaif_v() -> datasets.DatasetDict:
    numbers = range(10)
    table = {"question": [f'What is {number}, "quoted"?' for number in numbers]}
    table |= {side: [f"{side} {number}" for number in numbers] for side in ("chosen", "rejected")}
    plain = datasets.Dataset.from_dict({**table, "image": [photo(number, 32) for number in numbers]})
    made = plain.map(of_rlaif_v, remove_columns=plain.column_names, writer_batch_size=128)
    features = made.features
    features["images"] = datasets.Sequence(datasets.Image(decode=True))
    return made.cast(features).train_test_split(test_size=0.2, seed=0, writer_batch_size=128)


def test_trl_turns_whose_parts_are_stored_as_json(tmp_path: Path) -> None:
    """TRL's examples/datasets/rlaif-v.py maps each row to turns whose content is a list of parts.

    A part for the image has only a type, one of words has a type and a text. `datasets` stores such unlike parts as
    JSON (the type arrow.json).
    """
    made = rlaif_v()
    push(made, tmp_path / "set/data")
    stored = pq.read_schema(tmp_path / "set/data/train-00000-of-00001.parquet").field("prompt").type
    assert isinstance(stored.value_type.field("content").type.value_type, pa.JsonType)
    wanted = sorted(row["prompt"][0]["content"][1]["text"] for row in made["train"])
    _, samples = brought_in(tmp_path / "set", tmp_path)
    assert [sample.question for sample in samples] == wanted
    assert {(sample.chosen[:6], sample.rejected[:8]) for sample in samples} == {("chosen", "rejected")}
    found = by_overlaps(tmp_path / "set", tmp_path)
    assert sorted(str(row["question"]) for row in found) == wanted


@pytest.mark.parametrize("alone", [True, False])
def test_the_same_turns_as_datasets_saves_them(tmp_path: Path, alone: bool) -> None:
    """`save_to_disk` after the same script: Arrow files with the same types."""
    made = rlaif_v()
    (made["train"] if alone else made).save_to_disk(tmp_path / "set")
    _, samples = brought_in(tmp_path / "set", tmp_path)
    assert [sample.question for sample in samples] == sorted(
        row["prompt"][0]["content"][1]["text"] for row in made["train"]
    )


@pytest.mark.parametrize("cell", ['{"role": "user"', '[{"role": "user", "content": "\\ud800"}]'])
def test_a_cell_of_json_that_cannot_be_read_is_an_error(tmp_path: Path, cell: str) -> None:
    kinds = pa.array([cell]).cast(pa.string())
    prompt = pa.ExtensionArray.from_storage(pa.json_(), kinds)
    image = pa.array([{"bytes": encoded(photo(1, 32), "PNG"), "path": None}])
    table = pa.table({"prompt": prompt, "chosen": ["yes"], "rejected": ["no"], "image": image})
    (tmp_path / "set").mkdir()
    pq.write_table(table, tmp_path / "set/train-00000-of-00001.parquet")
    with pytest.raises(ConfigError, match="cannot be read") as told:
        brought_in(tmp_path / "set", tmp_path)
    assert told.value.then


def test_trl_rows_of_one_answer_with_turns_before(tmp_path: Path) -> None:
    """TRL's examples/datasets/llava_instruct_mix.py: images (a list), then prompt (all turns but the last) and
    completion (the last turn), both lists of role and content. A prompt of several turns is left out."""
    turns = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A cup."}]
    table = {
        "images": [[photo(number, 32)] for number in range(2)],
        "prompt": [turns[:1], [*turns, {"role": "user", "content": "And its colour?"}]],
        "completion": [turns[1:], [{"role": "assistant", "content": "Red."}]],
    }
    push(datasets.DatasetDict({"train": datasets.Dataset.from_dict(table)}), tmp_path / "set/data")
    result, samples = brought_in(tmp_path / "set", tmp_path, SFT)
    assert texts(samples) == [("What is it?", "A cup.", "")]
    assert result.rejects == {"no_single_question": 1}


def unpaired() -> datasets.DatasetDict:
    """As TRL's scripts/generate_zen_image_dataset.py makes its unpaired rows."""
    turn = [{"content": datasets.Value("string"), "role": datasets.Value("string")}]
    features = datasets.Features(
        prompt=turn, completion=turn, label=datasets.Value("bool"), image=datasets.Image(decode=True)
    )
    table = {
        "prompt": [[{"role": "user", "content": f"What is {number}?"}] for number in range(4)],
        "completion": [[{"role": "assistant", "content": f"answer {number}"}] for number in range(4)],
        "label": [True, False, False, True],
        "image": [photo(number, 32) for number in range(4)],
    }
    return datasets.Dataset.from_dict(table, features=features).train_test_split(test_size=1, shuffle=False)


def test_an_answer_that_is_marked_as_a_bad_one_is_not_learned(tmp_path: Path) -> None:
    """Unpaired rows of TRL, for KTO: prompt, completion, label and image. A label of false marks a bad answer."""
    push(unpaired(), tmp_path / "set")
    result, samples = brought_in(tmp_path / "set", tmp_path, SFT)
    assert texts(samples) == [("What is 0?", "answer 0", "")]
    assert result.rejects == {"unwanted_answer": 2}


def test_several_configs_of_a_hub_are_named(tmp_path: Path) -> None:
    """The same script pushes a config for each form of data: a folder of the config's name with train- and test-."""
    for config in ("conversational_preference", "conversational_unpaired_preference"):
        push(unpaired(), tmp_path / "set" / config)
    with pytest.raises(ConfigError, match="in 2 folders") as told:
        brought_in(tmp_path / "set", tmp_path, SFT)
    assert "conversational_preference" in told.value.then


def put_vlguard(folder: Path) -> None:
    """As VLGuard's convert_to_llava_format.py writes train_llava_format.json.

    The rows of train.json, where conversations takes the place of instr-resp, indented by 2. The mark of the image is
    joined to the first instruction; a safe image has both its instructions in one conversation.
    """

    def said(*words: str) -> list[dict[str, str]]:
        return [{"from": ("human", "gpt")[place % 2], "value": text} for place, text in enumerate(words)]

    one = {"id": "one", "image": "a/1.png", "safe": True}
    one |= {"conversations": said("<image>What is it?", "A cup.", "A placeholder request", "No, sorry.")}
    two = {"id": "two", "image": "a/2.png", "safe": False, "harmful_category": "c", "harmful_subcategory": "s"}
    two |= {"conversations": said("<image>Another placeholder", "No – sorry.")}
    folder.mkdir()
    (folder / "train-llava_format.json").write_text(json.dumps([one, two], indent=2), encoding="utf-8")
    for number in (1, 2):
        put_image(folder / f"a/{number}.png", number)


def test_vlguard_for_fine_tuning(tmp_path: Path) -> None:
    put_vlguard(tmp_path / "set")
    result, samples = brought_in(tmp_path / "set", tmp_path, SFT)
    assert texts(samples) == [("Another placeholder", "No – sorry.", "")]
    assert result.rejects == {"no_single_question": 1}
    found = by_overlaps(tmp_path / "set", tmp_path)
    assert [row["question"] for row in found] == ["What is it?\nA placeholder request", "Another placeholder"]


def test_scienceqa_as_llava_trains_on_it(tmp_path: Path) -> None:
    """LLaVA's convert_sqa_to_llava.py: a list indented by 2. A row without an image has no column for it; the mark of
    an image is a line behind the question."""
    rows: list[dict[str, Any]] = [
        {"id": "1", "image": "1/image.png", "conversations": [{"from": "human", "value": "Which one?\n<image>"}]},
        {"id": "2", "conversations": [{"from": "human", "value": "Which is two?"}]},
    ]
    for row in rows:
        row["conversations"].append({"from": "gpt", "value": "The answer is A."})
    put_image(tmp_path / "set/1/image.png", 1)
    (tmp_path / "set/train-llava_QCM-LEA.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    first, second = taught_by(str(tmp_path / "set"))
    assert (first.questions, second.questions) == (("Which one?",), ("Which is two?",))
    assert (first.unknown, second.unknown) == ((), ("images",))
    result, samples = brought_in(tmp_path / "set", tmp_path, SFT)
    assert texts(samples) == [("Which one?", "The answer is A.", "")]
    assert result.rejects == {"no_image": 1}


def test_pairs_as_ms_swift_samples_them(tmp_path: Path) -> None:
    """ms-swift's sampler writes JSON lines without escapes: messages that end with the better answer, images as
    objects of bytes (null) and path, rejected_response, and an id."""
    lines = []
    for number in range(2):
        turns = [{"role": "user", "content": f"<image>What is {number}, “quoted”?"}]
        turns.append({"role": "assistant", "content": f"good {number}"})
        images = [{"bytes": None, "path": f"images/{number}.png"}]
        row = {"messages": turns, "images": images, "rejected_response": f"bad {number}", "id": f"{number}f"}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        put_image(tmp_path / f"set/images/{number}.png", number)
    (tmp_path / "set/train.jsonl").write_text("".join(lines), encoding="utf-8")
    _, samples = brought_in(tmp_path / "set", tmp_path)
    assert texts(samples) == [(f"What is {number}, “quoted”?", f"good {number}", f"bad {number}") for number in (0, 1)]


def test_questions_in_the_newer_form_of_llama_factory(tmp_path: Path) -> None:
    """LLaMA-Factory's converters of its version 1 put the text of a part, and the name of an image, into its value."""
    parts = [{"type": "image_url", "value": "images/1.jpg"}, {"type": "text", "value": "Who is it?"}]
    turns = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "text", "value": "A cat."}]},
    ]
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": turns}) + "\n", encoding="utf-8")
    (found,) = taught_by(str(tmp_path))
    assert (found.questions, found.unknown) == (("Who is it?",), ("images",))


def test_images_of_pushed_lists_are_read(tmp_path: Path) -> None:
    """The same script of TRL: a list of one image in each row, its bytes in the Parquet file."""
    push(rlaif_v(), tmp_path / "set/data")
    for row in taught_by(str(tmp_path / "set")):
        number = int(row.questions[0].split()[2].strip(","))
        (image,) = (image for each in row.images for image in each())
        assert pixels(image) == photo(number, 32).convert("RGB").tobytes()
