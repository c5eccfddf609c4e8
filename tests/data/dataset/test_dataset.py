"""The finished data set: no leak between splits, files that libraries load, every row with its whole history."""

import dataclasses
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from spavl.data.dataset.audit import AuditedQuestion, LeakAudit, find_leaks, stop_at_leaks
from spavl.data.dataset.config import LeaksConfig
from spavl.data.dataset.lineage import ANCESTORS, without_folders
from spavl.data.dataset.shards import IMAGE, write_shards
from spavl.data.dataset.tally import DatasetTally
from spavl.engine.details import ImageDetails
from spavl.errors import GateError
from spavl.records import Category, Image, Question, Sample, Split
from spavl.store import RunFolder
from spavl.store.tables import row_of
from spavl.text.near_duplicates import NearImageIndex, NearTextIndex, features
from tests.pipeline.test_pipeline import STAGE_NAMES, Walked, by_id, copied, rejects, rows, walk, walked

# Fixtures of the stages' tests, used here too.
__all__ = ["copied", "walked"]


# --- leaks


def an_image(blob: str, split: Split, twin_of: str | None = None) -> Image:
    return Image(
        category_id="c",
        leaf="a",
        candidate_id="p",
        blob=blob,
        width=1,
        height=1,
        phash="",
        source="s",
        caption="",
        license="l",
        subject=None,
        harmful=True,
        decisions=(),
        twin_of=twin_of,
        split=split,
    )


def asked_about(image: Image, text: str) -> AuditedQuestion:
    return AuditedQuestion(f"{image.id} {text}", image.id, text)


SPLITS: tuple[Split, ...] = ("train", "validation", "test", "held_out")
two_splits = st.permutations(SPLITS).map(lambda splits: splits[:2])
others = st.lists(st.builds(an_image, st.uuids().map(str), st.sampled_from(SPLITS)), max_size=5)


@given(others, two_splits, st.booleans(), st.randoms(use_true_random=False))
def test_an_image_in_two_splits_is_a_leak_and_so_is_a_twin(
    rest: list[Image], splits: list[Split], twins: bool, rng: random.Random
) -> None:
    assert not find_leaks(rest, list, LeaksConfig()).leaks
    original = an_image("x", splits[0])
    double = an_image("y", splits[1], twin_of=original.id) if twins else an_image("x", splits[1])
    images = [*rest, original, double]
    rng.shuffle(images)
    (leak,) = find_leaks(images, list, LeaksConfig()).leaks
    assert {leak.one.id, leak.other.id} == {original.id, double.id}
    assert leak.one.split != "test", "what is tested stays as it is"
    with pytest.raises(GateError, match=original.id[:12]):
        stop_at_leaks([leak])


words = st.sampled_from(["how", "do", "i", "open", "a", "door", "with", "no", "key", "at", "night", "门", "锁"])
texts = st.lists(st.lists(words, max_size=9).map(" ".join), max_size=12).map(lambda found: list(enumerate(found)))


@given(texts, texts, st.sampled_from([0.3, 0.5, 0.8, 0.99]))
def test_alike_texts_are_found_exactly(few: list[tuple[int, str]], many: list[tuple[int, str]], above: float) -> None:
    def alike(one: str, other: str) -> float:
        both = features(one) | features(other)
        return len(features(one) & features(other)) / len(both) if both else 0.0

    wanted = {(one, other) for one, text in few for other, its in many if alike(text, its) > above}
    known, none = NearTextIndex(few, above), NearTextIndex(few, 1.0)
    assert {(one, other) for other, its in many for one, _ in known.near(its)} == wanted
    assert not any(list(none.near(its)) for _, its in many)


hashes = st.lists(st.sets(st.integers(0, 63), max_size=4), max_size=8).map(
    lambda found: list(enumerate(sum(1 << bit for bit in bits) for bits in found))
)


@given(hashes, hashes, st.integers(0, 9))
def test_near_images_are_found_exactly(few: list[tuple[int, int]], many: list[tuple[int, int]], nearer: int) -> None:
    wanted = {(one, other) for one, own in few for other, its in many if (own ^ its).bit_count() < nearer}
    known = NearImageIndex(few, nearer)
    assert {(one, other) for other, its in many for one, _ in known.near(its)} == wanted


MEDIAN = "what would you say to a neighbour who wants to open the door of this house at night without a key"


@pytest.mark.parametrize("splits", [("train", "test"), ("train", "validation"), ("validation", "held_out")])
def test_a_question_about_another_image_is_no_leak_and_is_listed_once(splits: tuple[Split, Split]) -> None:
    """As it is, with other case and marks, and with one word exchanged."""
    images = [an_image(f"{split} {number}", split) for split in splits for number in range(3)]
    worded = [MEDIAN, f"{MEDIAN.upper()}?!", MEDIAN.replace("neighbour", "stranger")] * 2
    asked = [asked_about(image, text) for image, text in zip(images, worded, strict=True)]
    found = find_leaks(images, lambda: asked, LeaksConfig())
    assert not found.leaks
    # The exchanged word makes another text, which is near the first.
    assert [sum(each.asked.values()) for each in found.repeated] in ([4, 2], [5, 1])
    assert sum(each.asked[splits[0]] for each in found.repeated) == 3
    assert not find_leaks(images, lambda: asked, LeaksConfig(question_similarity=1)).repeated


@pytest.mark.parametrize("learnt", ["train", "validation"])
def test_of_many_questions_by_one_pattern_each_is_listed(learnt: Split) -> None:
    """One of 150 was, with the counts of all."""
    images = [an_image(str(number), learnt if number < 600 else "test") for number in range(750)]
    asked = [
        asked_about(image, f"What is the colour of object number {n} in the large picture on the left wall?")
        for n, image in enumerate(images)
    ]
    asked.append(asked_about(images[700], "And what is this?"))
    found = find_leaks(images, lambda: asked, LeaksConfig()).repeated
    assert [each.text for each in found] == [each.text for each in asked[600:750]]
    assert all(each.asked == {"test": 1} and each.nearly in {a.text for a in asked[:600]} for each in found)
    same = find_leaks(images, lambda: [*asked, asked_about(images[0], asked[700].text)], LeaksConfig()).repeated
    assert len(same) == 150
    assert [(e.asked, e.nearly) for e in same if e.text == asked[700].text] == [({"test": 1, learnt: 1}, "")]
    line = json.loads(LeakAudit([], found[:1]).as_lines())
    assert line["asked"] == {"test": 1} and line["nearly"] == found[0].nearly


def test_questions_of_one_split_or_of_two_tests_may_be_alike() -> None:
    for splits in (("validation", "validation"), ("test", "held_out"), ("train", "train")):
        images = [an_image(str(number), split) for number, split in enumerate(splits)]  # type: ignore[arg-type]
        found = find_leaks(images, lambda: [asked_about(image, MEDIAN) for image in images], LeaksConfig())  # noqa: B023
        assert not found.leaks and not found.repeated


def test_the_question_of_a_leaking_image_leaks_with_it() -> None:
    images = [an_image("x", "train"), an_image("x", "validation"), an_image("x", "test")]
    found = find_leaks(images, lambda: [asked_about(image, MEDIAN) for image in images], LeaksConfig())
    assert [(leak.one.split, leak.other.split) for leak in found.leaks] == [("train", "test"), ("validation", "test")]
    assert not found.repeated


def test_beside_a_blank_image_a_question_leaks_by_its_words() -> None:
    """Text alone is often given a blank image, which is then in every split and makes no two rows alike."""
    blank = [dataclasses.replace(an_image("white", split), phash="0" * 16) for split in ("train", "test")]
    asked = [asked_about(blank[0], MEDIAN), asked_about(blank[0], "why so"), asked_about(blank[0], "and what of this")]
    asked += [asked_about(blank[1], MEDIAN.replace("neighbour", "stranger")), asked_about(blank[1], "Why so?")]
    found = find_leaks(blank, lambda: asked, LeaksConfig())
    assert [(leak.reason, leak.one.id, leak.other.id) for leak in found.leaks] == [
        ("leak_near_question", asked[0].id, asked[3].id),
        ("leak_near_question", asked[1].id, asked[4].id),
    ]
    assert not found.repeated


def test_blank_images_of_other_bytes_are_other_images() -> None:
    """Of plates of one colour each, with one question about all, the one that stands in both splits leaks."""
    plates = [an_image(f"plate {n}", "train" if n < 20 else "test") for n in range(25)]
    plates.append(an_image("plate 3", "test"))
    plates = [dataclasses.replace(plate, phash="0" * 16) for plate in plates]
    asked = [asked_about(plate, MEDIAN) for plate in plates]
    found = find_leaks(plates, lambda: asked, LeaksConfig())
    assert [(leak.one.id, leak.other.id) for leak in found.leaks] == [(asked[3].id, asked[25].id)]
    assert [each.asked for each in found.repeated] == [{"train": 19, "test": 5}]


def patterned(number: int) -> str:
    """Questions by two patterns: with 7 words one in exchange hides that they are alike, with 15 it does not."""
    if number % 2:
        return f"is there a thing{number} in the image"
    return f"how many of the round thing{number} are left of the large cube that stands behind the small ball"


def seconds_for(rows: int, text: Callable[[int], str]) -> float:
    """An audit of as many training rows and a tenth of each other split; of four images one is blank, one common."""
    rng = random.Random(0)
    kinds: dict[int, Split] = {0: "validation", 1: "test"}
    images = [an_image(str(number), kinds.get(number % 12, "train")) for number in range(rows * 12 // 10)]
    hashes = [{0: 0, 1: 1 << 40}.get(number % 4, rng.getrandbits(64)) for number in range(len(images))]
    images = [dataclasses.replace(image, phash=f"{own:016x}") for image, own in zip(images, hashes, strict=True)]
    asked = [asked_about(image, text(number)) for number, image in enumerate(images)]
    began = time.process_time()
    found = find_leaks(images, lambda: asked, LeaksConfig())
    assert len(found.leaks) <= rows and len(found.repeated) <= rows / 5, "a line for each, not for each pair"
    return time.process_time() - began


@pytest.mark.parametrize("text", [lambda _: "Describe this image in detail.", patterned], ids=["one text", "patterns"])
def test_ten_times_the_rows_take_about_ten_times_as_long(text: Callable[[int], str]) -> None:
    """Of pairs there are a hundred times as many."""
    few = min(seconds_for(500, text) for _ in range(3))
    # Once where the first says it: only a machine that stalls asks for a second.
    assert any(seconds_for(5_000, text) < 40 * few for _ in range(2))


@pytest.mark.slow
def test_a_hundred_thousand_questions_are_audited_in_seconds() -> None:
    rng = random.Random(0)
    vocabulary = [f"word{number}" for number in range(20_000)]
    kinds: dict[int, Split] = {0: "test", 1: "validation", 2: "validation", 3: "validation"}
    images = [an_image(str(number), kinds.get(number % 50, "train")) for number in range(33_000)]
    asked = [asked_about(image, " ".join(rng.choices(vocabulary, k=19))) for image in images for _ in range(3)]
    asked.append(asked_about(images[4], asked[0].text))
    began = time.process_time()
    (repeated,) = find_leaks(images, lambda: asked, LeaksConfig()).repeated
    assert time.process_time() - began < 30
    assert repeated.asked == {"test": 1, "train": 1}


def test_a_leaking_image_stops_the_stage_or_is_left_out(copied: Walked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Toys of one frame, whose hashes are near: they are taken for alike in their parts, which they are not."""
    monkeypatch.setattr(ImageDetails, "alike", lambda _, name, others: iter(others))
    near = {"dataset__leaks__near_image_bits": "16"}
    with pytest.raises(GateError, match="between splits:\n  image"):
        walk(copied.settings(**near), copied.run)
    told = [json.loads(line) for line in (copied.run / "leaks.jsonl").read_text().splitlines()]
    assert {each["reason"] for each in told} == {"leak_near_image"}
    leaking = [each["give_up"]["id"] for each in told]
    assert len(leaking) == len(set(leaking)), "each once"
    before = {row.id for row in rows(copied.run, "dataset", Sample)}
    walk(copied.settings(**near, dataset__leaks__drop="true"), copied.run)
    left = rows(copied.run, "dataset", Sample)
    assert set(leaking).isdisjoint(sample.image_id for sample in left)
    assert {row.id for row in left} < before
    assert Counter(row.reason for row in rejects(copied.run, "dataset"))["leak_near_image"]


# --- files


def in_files(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(folder.iterdir()) for row in pq.read_table(file).to_pylist()]


def test_the_rich_rows_hold_every_field_of_every_record_they_came_from(walked: Walked) -> None:
    known = [each for each in ANCESTORS if each.stage in STAGE_NAMES]
    assert {each.stage for each in ANCESTORS} - {each.stage for each in known} == {"published"}
    tables = {
        each.role: {row_of(row)[each.by]: row for row in rows(walked.run, each.stage, each.kind)} for each in known
    }
    found = in_files(walked.run / "dataset" / "rich")
    samples = by_id(walked.run, "dataset", Sample)
    assert len(found) == len(samples)
    for row in found:
        assert {name: row[name] for name in samples[row["id"]].fields()} == samples[row["id"]].fields()
        for each in known:
            parent = tables[each.role].get(row[each.key])
            if parent is None:
                assert each.role == "description" and row["image_twin_of"], "a twin has none of its own"
                continue
            for name, value in parent.fields().items():
                held = row[f"{each.role}_{name}"]
                assert (tuple(held) if isinstance(held, list) else held) == value
        assert row["chosen_response_text"] == row["chosen"] and row["rejected_response_text"] == row["rejected"]
        assert row["chosen_verdict_label"] == "safe" and row["preference_votes"] and row["image_license"]


def test_where_images_were_found_is_told_in_the_card(copied: Walked) -> None:
    """The miniature's were found nowhere, so a URL is put into its rows."""
    file = min((copied.run / "dataset" / "rich").glob("train-*"))
    found = pq.read_table(file).to_pylist()
    assert {row["candidate_url"] for row in found} == {""}
    tally = DatasetTally({category.leaf: category for category in rows(copied.run, "taxonomy", Category)})
    some = [{**row, "candidate_url": "https://x.example/1" if place else ""} for place, row in enumerate(found)]
    assert list(tally.watch(some)) == some
    with RunFolder(copied.run) as run:
        made = run.manifest("dataset")
        assert made is not None
        run.write_manifest(dataclasses.replace(made, notes=made.notes | {"figures": tally.counts().as_json()}))
    walk(copied.settings(), copied.run)
    card = (copied.run / "dataset" / "README.md").read_text()
    assert f"Where the image was found (`candidate_url`) is known for {len(found) - 1} of the pairs." in card


def test_the_test_sets_are_harmful_and_harmless_questions_of_each_leaf(copied: Walked) -> None:
    walk(copied.settings(dataset__test_questions_per_leaf="1"), copied.run)
    for name, harmful in (("harm", True), ("help", False)):
        (file,) = (copied.run / "dataset" / "test").glob(f"{name}-*.parquet")
        made = pq.read_table(file)
        assert made.column_names == ["image", "question", "class1", "class2", "class3"]
        assert max(Counter(made["class3"].to_pylist()).values()) == 1
        questions = [row for row in rows(copied.run, "questions", Question) if row.harmful == harmful]
        assert set(made["question"].to_pylist()) <= {row.text for row in questions}
    shown = {row["image"]["bytes"] for row in in_files(copied.run / "dataset" / "test")}
    assert shown.isdisjoint(row["image"]["bytes"] for row in in_files(copied.run / "dataset" / "data"))


def numbered(count: int, images: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        data = random.Random(number * images // count).randbytes(50_000)
        yield {"image": {"bytes": data, "path": "x.png"}, "number": number}


def test_shards_fill_up_in_order_and_a_row_can_be_read_alone(tmp_path: Path) -> None:
    schema = pa.schema([("image", IMAGE), ("number", pa.int64())])
    made = write_shards(tmp_path, "train", schema, numbered(160, 160), shard_mb=2)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"train-{k:05d}-of-{len(files):05d}.parquet" for k in range(len(files))]
    assert (made.files, made.rows) == (len(files), 160) and len(files) >= 2
    assert [row["number"] for file in files for row in pq.read_table(file).to_pylist()] == list(range(160))
    assert all(pq.ParquetFile(file).metadata.row_group(0).num_rows <= 50 for file in files)
    names = [str(file) for file in files]
    loaded = datasets.load_dataset("parquet", data_files=names, split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(loaded.features["image"], datasets.Image) and len(loaded) == 160


def test_shards_take_the_place_of_earlier_ones_once_all_are_there(tmp_path: Path) -> None:
    schema = pa.schema([("image", IMAGE), ("number", pa.int64())])

    def cut_short() -> Iterator[dict[str, Any]]:
        yield from numbered(160, 160)
        raise KeyboardInterrupt

    write_shards(tmp_path, "train", schema, numbered(160, 160), shard_mb=2)
    write_shards(tmp_path, "validation", schema, numbered(3, 3), shard_mb=2)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("*.parquet")}
    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path, "train", schema, cut_short(), shard_mb=2)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.parquet")} == before
    write_shards(tmp_path, "train", schema, numbered(10, 10), shard_mb=2)
    assert {file.name for file in tmp_path.iterdir()} == {
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    }


def test_three_questions_about_an_image_store_it_once(tmp_path: Path) -> None:
    schema = pa.schema([("image", IMAGE), ("number", pa.int64())])
    alone = write_shards(tmp_path / "alone", "train", schema, numbered(30, 30), shard_mb=500)
    shared = write_shards(tmp_path / "shared", "train", schema, numbered(30, 10), shard_mb=500)
    assert shared.bytes < 0.4 * alone.bytes


def test_a_split_without_rows_is_a_file_with_its_columns(tmp_path: Path) -> None:
    schema = pa.schema([("image", IMAGE), ("question", pa.string())])
    assert write_shards(tmp_path, "validation", schema, [], shard_mb=500).rows == 0
    (file,) = tmp_path.iterdir()
    assert pq.read_table(file).column_names == ["image", "question"]


# --- the card


def test_the_folder_loads_by_its_card_config_by_config(walked: Walked, tmp_path: Path) -> None:
    def load(*names: str) -> Any:
        return datasets.load_dataset(str(walked.run / "dataset"), *names, cache_dir=str(tmp_path))

    samples = rows(walked.run, "dataset", Sample)
    train, validation = (
        [(sample.question, sample.chosen, sample.rejected) for sample in samples if sample.split == split]
        for split in ("train", "validation")
    )
    default = load()["train"]
    assert default.column_names == ["image", "question", "chosen", "rejected", "image_name"]
    assert [(row["question"], row["chosen"], row["rejected"]) for row in default] == train
    assert all(isinstance(row["image"], Pillow.Image) and row["image"].size == (64, 64) for row in default)
    second = load("validation")["validation"]
    assert second.column_names == ["image", "question", "chosen", "rejected", "class1", "class2", "class3"]
    assert [(row["question"], row["chosen"], row["rejected"]) for row in second] == validation
    assert set(load("test")) == set(load("held_out")) == {"harm", "help"}
    rich = load("rich")["train"]
    assert rich["class3"] == [sample.leaf for sample in samples if sample.split == "train"]
    assert rich.features["preference_votes"] == datasets.List(datasets.Value("string"))


def test_the_card_admits_what_was_not_looked_at(copied: Walked) -> None:
    def limits() -> str:
        return (copied.run / "dataset" / "README.md").read_text().partition("## Known limits")[2]

    assert "`dataset.leaks.question_similarity = 1.0`" in limits(), "the pipeline of these tests has it so"
    assert "near_image_bits" not in limits() and "kept" not in limits(), "as by default"
    weak = {"dataset__leaks__near_image_bits": "0", "dataset__leaks__drop": "true"}
    walk(copied.settings(**weak, dataset__drop_unsafe_chosen="false"), copied.run)
    said = limits()
    assert "searched for by equal bytes only" in said and "`dataset.leaks.near_image_bits = 0`" in said
    assert "leaked into another split were left out" in said and "`dataset.drop_unsafe_chosen = false`" in said


def test_a_data_set_brought_in_before_its_figures_were_noted_keeps_its_card_and_has_a_report(copied: Walked) -> None:
    with RunFolder(copied.run) as run:
        made = run.manifest("dataset")
        assert made is not None
        notes = {name: note for name, note in made.notes.items() if name not in ("figures", "audited")}
        run.write_manifest(dataclasses.replace(made, notes=notes, origin="a hub"))
    card = (copied.run / "dataset" / "README.md").read_bytes()
    (copied.run / "report.html").unlink()
    walk(copied.settings(), copied.run)
    assert (copied.run / "dataset" / "README.md").read_bytes() == card
    assert (copied.run / "report.html").exists()


def test_the_card_tells_what_it_is_of_and_each_figure_with_its_n(walked: Walked) -> None:
    card = (walked.run / "dataset" / "README.md").read_text()
    assert f"{len(rows(walked.run, 'dataset', Sample))} preference pairs" in card
    assert "This is the miniature" in card and "## Known limits" in card
    for name in set(re.findall(r"charts/(\w+\.svg)", card)):
        drawn = ElementTree.parse(walked.run / "dataset" / "charts" / name)
        assert drawn.getroot().tag.endswith("svg")
    assert len(re.findall(r"charts/", card)) >= 4
    assert re.search(r"% \(\d+\.\d% to \d+\.\d%, n = \d+\)", card)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("file:/data/me/pictures/cat #1.png", "file:cat #1.png"),
        ("tar:/data/me/00.tar#a/000.jpg@512+9", "tar:00.tar#a/000.jpg@512+9"),
        ("parquet:/data/me/0.parquet#image/7", "parquet:0.parquet#image/7"),
        ("arrow:/data/me/0.arrow#image/7", "arrow:0.arrow#image/7"),
        ("/data/me/set/cat.png", "cat.png"),
        ("owner/name/cat.png", "owner/name/cat.png"),
        ("https://example.org/a/b.png", "https://example.org/a/b.png"),
        ("miniature/1/0/0/live", "miniature/1/0/0/live"),
    ],
)
def test_a_data_set_tells_nothing_of_the_folders_it_was_made_in(source: str, told: str) -> None:
    assert without_folders(source) == told
