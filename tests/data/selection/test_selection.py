"""Invariants of chosen images: none twice, none on two sides, each kept or rejected with its reason."""

import asyncio
import hashlib
import itertools
import math
import random
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from spavl.data.selection.duplicates import HashClusters
from spavl.data.selection.quotas import Selection, choose
from spavl.data.selection.relevance import Relevance
from spavl.data.selection.splits import split_of
from spavl.errors import ConfigError, GateError
from spavl.models.batch_api import queue
from spavl.pipeline.build import run_build
from spavl.pipeline.settings import read_config
from spavl.records import Candidate, DownloadedImage, Image, Reject, Split
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.batch_server import BatchServer
from tests.support.images import JPEG, PNG, UNUSABLE, encoded, photo
from tests.support.servers import Body, completion

TAXONOMY = """
name = "two leaves"
version = 1
[[domain]]
name = "d"
[[domain.group]]
name = "g"
leaves = [{ name = "a" }, { name = "b" }]
"""


# --- splits

blobs = st.binary(min_size=32, max_size=32).map(bytes.hex)
seeds, shares = st.integers(0, 2**32), st.floats(0, 1, exclude_max=True)


def random_blobs(count: int) -> list[str]:
    rng = random.Random(0)
    return [rng.randbytes(32).hex() for _ in range(count)]


@given(blobs, seeds, shares, shares, shares)
def test_a_larger_share_of_tests_takes_no_image_out_of_the_tests(
    blob: str, seed: int, one: float, other: float, validation: float
) -> None:
    less, more = (split_of(blob, seed, share, validation) for share in sorted((one, other)))
    assert less == more or more == "test"
    assert split_of(blob, seed, 0, validation) != "test" and split_of(blob, seed, one, 0) != "validation"


def test_each_split_has_its_share_over_all_ranks_and_another_seed_draws_others() -> None:
    found = random_blobs(12_000)
    splits = [split_of(blob, 1, 0.25, 0.1) for blob in found]
    for start in range(0, 12_000, 3000):
        counts = Counter(splits[start : start + 3000])
        assert abs(counts["test"] - 750) < 5 * math.sqrt(3000 * 0.25 * 0.75)
        assert abs(counts["validation"] - 225) < 5 * math.sqrt(3000 * 0.075 * 0.925)
    both = sum(one == split_of(blob, 2, 0.25, 0.1) == "test" for one, blob in zip(splits, found, strict=True))
    assert abs(both - 750) < 5 * math.sqrt(12_000 * 0.0625 * 0.9375), "seeds draw apart from each other"


# --- which leaf uses which image


def looking(looks: list[int], near: dict[int, set[int]] | None = None) -> HashClusters:
    """Looks as they are told, however they were found."""

    class Told(HashClusters):
        def like(self, place: int) -> set[int]:
            own = int(self.of[place])
            return {own} | (near or {}).get(own, set())

    return Told(np.array(looks, dtype=np.intp))


def chosen_of(leaves: list[int], looks: HashClusters, quota: int, irrelevant: Collection[int] = ()) -> Selection:
    async def ask(places: Sequence[int]) -> list[Relevance]:
        return ["no" if place in irrelevant else "yes" for place in places]

    return asyncio.run(choose(np.array(leaves, dtype=np.intp), looks, quota, ask))


listings = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.booleans()), max_size=40)
likenesses = st.sets(
    st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda pair: pair[0] < pair[1]), max_size=6
)


@given(listings, likenesses, st.integers(1, 6))
def test_no_two_used_images_are_alike_and_no_leaf_is_short_that_need_not_be(
    listed: list[tuple[int, int, bool]], pairs: set[tuple[int, int]], quota: int
) -> None:
    near: dict[int, set[int]] = {}
    for one, two in (pair for pair in pairs if set(pair) <= {look for _, look, _ in listed}):
        near.setdefault(one, set()).add(two)
        near.setdefault(two, set()).add(one)
    leaves = [leaf for leaf, _, _ in listed]
    looks = looking([look for _, look, _ in listed], near)
    bad = {place for place, (_, _, fit) in enumerate(listed) if not fit}
    choice = chosen_of(leaves, looks, quota, bad)
    assert choice.used.keys().isdisjoint(bad) and choice.irrelevant <= bad
    for one, two in itertools.combinations(choice.used, 2):
        assert int(looks.of[one]) not in looks.like(two)
    got = Counter(leaves[place] for place in choice.used)
    assert max(got.values(), default=0) <= quota
    for place, leaf in enumerate(leaves):
        free = int(looks.of[place]) not in choice.taken and place not in choice.irrelevant
        assert not free or got[leaf] == quota
    assert choice.taken.keys() == {look for place in choice.used for look in looks.like(place)}


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 12))
def test_a_leaf_alone_uses_the_first_of_its_images(looks: list[int], quota: int) -> None:
    choice = chosen_of([0] * len(looks), looking(looks), quota)
    assert sorted(choice.used) == sorted(looks.index(look) for look in dict.fromkeys(looks))[:quota]


@pytest.mark.parametrize(
    ("listed", "quota", "got"),
    [
        ((12, 12), 4, (4, 4)),
        ((12, 12), 10, (6, 6)),
        ((20, 4), 4, (4, 4)),
        ((4, 20), 4, (4, 4)),
        ((12, 12, 12), 4, (4, 4, 4)),
    ],
)
def test_leaves_that_list_the_same_images_share_them(listed: tuple[int, ...], quota: int, got: tuple[int, ...]) -> None:
    leaves = [leaf for leaf, count in enumerate(listed) for _ in range(count)]
    looks = looking([look for count in listed for look in range(count)])
    counts = Counter(leaves[place] for place in chosen_of(leaves, looks, quota).used)
    assert tuple(counts[leaf] for leaf in range(len(listed))) == got


def test_what_is_irrelevant_to_one_leaf_is_left_to_another() -> None:
    leaves, looks = [0] * 6 + [1] * 6, looking([*range(6), *range(6)])
    got = Counter(leaves[place] for place in chosen_of(leaves, looks, 4, irrelevant=range(4)).used)
    assert got[1] == 4 and got[0], "the first leaf has but two that it could use, and they share them"


# --- the stage


def run_images(tmp_path: Path, **options: Any) -> tuple[list[Image], list[Reject]]:
    """The images of a pipeline with these options (two underscores for the dot), and every rejected row."""
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "taxonomy.toml").write_text(TAXONOMY)
    table: dict[str, Any] = {"taxonomy": {"file": str(tmp_path / "taxonomy.toml")}}
    for name, value in options.items():
        section, key = name.split("__")
        table.setdefault(section, {})[key] = value
    asyncio.run(run_build(read_config(table, {}, "a test"), tmp_path / "run", "selection", Screen()))
    with RunFolder(tmp_path / "run") as run:
        rejects = [row for stage in ("sourcing", "downloads", "selection") for row in run.read(stage, Reject)]
        return list(run.read("selection", Image)), rejects


def test_a_twin_is_in_the_split_of_its_original(tmp_path: Path) -> None:
    images, _ = run_images(
        tmp_path, selection__per_leaf=12, selection__test_share=0.33, selection__validation_share=0.5
    )
    originals = {image.id: image for image in images if image.twin_of is None}
    twins = [image for image in images if image.twin_of]
    assert len(originals) == len(twins) == 24
    assert {image.split for image in originals.values()} == {"train", "validation", "test"}
    for twin in twins:
        original = originals[twin.twin_of or ""]
        assert (twin.split, twin.leaf, twin.subject) == (original.split, original.leaf, original.subject)
        assert original.harmful and not twin.harmful


def test_a_held_out_leaf_gives_nothing_to_the_other_splits(tmp_path: Path) -> None:
    images, _ = run_images(
        tmp_path, selection__per_leaf=4, selection__test_share=0.25, selection__held_out_leaves=("b",)
    )
    assert all((image.leaf == "b") == (image.split == "held_out") for image in images)
    assert {image.leaf for image in images} == {"a", "b"}


def test_tests_lie_over_all_ranks_and_no_image_changes_its_split_when_its_leaf_grows(tmp_path: Path) -> None:
    """Sixty images of a leaf; then others come before, between and behind them, some go, and the quota is raised."""
    folder = tmp_path / "images" / "a"
    folder.mkdir(parents=True)
    rng = random.Random(0)

    def add(names: Sequence[str]) -> None:
        for name in names:
            noise = np.frombuffer(rng.randbytes(8 * 8 * 3), np.uint8).reshape(8, 8, 3)
            (folder / f"{name}.png").write_bytes(encoded(Pillow.fromarray(noise).resize((64, 64)), "PNG"))

    def splits(per_leaf: int) -> dict[str, Split]:
        options: dict[str, Any] = {"selection__test_share": 0.2, "selection__validation_share": 0.2}
        images, rejects = run_images(
            tmp_path, sourcing__source=str(tmp_path / "images"), selection__per_leaf=per_leaf, **options
        )
        assert not rejects
        return {Path(image.source).stem: image.split for image in images}

    add([f"{rank:02}b" for rank in range(60)])
    before = splits(60)
    tests = [rank for rank, split in enumerate(before.values()) if split == "test"]
    assert 4 < len(tests) < 22
    assert min(tests) < 20 and max(tests) >= 40 and any(20 <= rank < 40 for rank in tests)
    add([f"{rank:02}{side}" for rank in range(20) for side in "ac"])
    for gone in ("03b", "17b"):
        (folder / f"{gone}.png").unlink()
    after = splits(200)
    assert len(after) == 98 and before.items() - after.items() == {(gone, before[gone]) for gone in ("03b", "17b")}


FILES = {
    "1 good.png": (PNG, None),
    "2 the same again.png": (PNG, "duplicate"),
    "3 really a JPEG.gif": (JPEG, "wrong_extension"),
    "4 tiny.png": (encoded(photo(side=47), "PNG"), "too_small"),
    "5 a page.jpg": (UNUSABLE["a web page"][0], "undecodable"),
    "6 a bomb.png": (UNUSABLE["a bomb"][0], "too_many_pixels"),
    "7 half.jpg": (UNUSABLE["half a JPEG"][0], "truncated"),
    "8 another.jpg": (encoded(photo(9), "JPEG"), None),
    "9 much like the first.jpg": (encoded(photo(side=100), "JPEG", quality=40), "near_duplicate"),
    "A banner.png": (encoded(photo(side=400).resize((400, 64)), "PNG"), "too_wide"),
}


def fill(folder: Path) -> Path:
    for leaf in ("a", "not a leaf"):
        (folder / leaf).mkdir(parents=True)
        for name, (data, _) in FILES.items():
            (folder / leaf / name).write_bytes(data)
    return folder


def test_every_file_of_a_folder_is_kept_or_rejected_with_its_reason(tmp_path: Path) -> None:
    source = fill(tmp_path / "images")
    images, rejects = run_images(tmp_path, sourcing__source=str(source))
    outcome = {image.source: None for image in images}
    # Behind the source may stand what was measured, or whom it is like.
    outcome |= {reject.detail.partition(" (")[0].partition(" is like")[0]: reject.reason for reject in rejects}
    assert outcome == {f"file:{source}/a/{name}": reason for name, (_, reason) in FILES.items()}


def test_no_more_images_are_kept_than_are_wanted(tmp_path: Path) -> None:
    source = fill(tmp_path / "images")
    images, rejects = run_images(tmp_path, sourcing__source=str(source), selection__per_leaf=1)
    assert [image.source for image in images] == [f"file:{source}/a/1 good.png"]
    assert Counter(reject.reason for reject in rejects) == {"duplicate": 1, "wrong_extension": 1}, (
        "3 were to be looked at"
    )


def test_an_image_stands_in_one_leaf_only(tmp_path: Path) -> None:
    source = fill(tmp_path / "images")
    (source / "not a leaf").rename(source / "b")
    images, rejects = run_images(tmp_path, sourcing__source=str(source))
    assert [image.leaf for image in images] == ["a", "b"], "they share two images"
    assert len({image.blob for image in images}) == 2
    assert sum(reject.reason == "duplicate" for reject in rejects) == 4


def test_a_run_with_nothing_to_learn_from_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_images(tmp_path / "held", selection__per_leaf=2, selection__held_out_leaves=("a", "b"))
    assert "none is left to train on (4 held_out): raise selection.per_leaf" in capsys.readouterr().err
    run_images(tmp_path / "some", selection__per_leaf=9)
    assert "left to train on" not in capsys.readouterr().err


def test_what_a_model_finds_irrelevant_to_one_leaf_goes_to_the_other_and_in_batches_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_FIRST_LOOK", 0.01)
    monkeypatch.setattr(queue, "_LONGEST_LOOK", 0.01)
    for leaf in ("a", "b"):
        (tmp_path / "images" / leaf).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "images" / leaf / f"{number}.png").write_bytes(encoded(photo(number), "PNG"))

    def answer(body: Body) -> web.Response:
        return completion(f"relevant: {'no' if 'g > a' in str(body['messages']) else 'yes'}")

    with BatchServer(answer) as server:
        model = f"openai/any@{server.url}"
        asked = {"sourcing__source": str(tmp_path / "images"), "selection__relevance": model, "selection__per_leaf": 4}
        images, rejects = run_images(tmp_path / "single", **asked)
        batched, _ = run_images(tmp_path / "batched", **asked, batch__models=(model,))
        assert set(server.paid.values()) == {1} and len(server.batches) <= 4
    assert [image.leaf for image in images] == ["b"] * 4
    assert Counter(reject.reason for reject in rejects) == {"irrelevant": 3, "duplicate": 3, "over_quota": 2}
    assert batched == images


def test_only_equal_bytes_are_duplicates_if_hashes_are_not_to_be_compared(tmp_path: Path) -> None:
    source = fill(tmp_path / "images")
    images, rejects = run_images(tmp_path, sourcing__source=str(source), selection__near_duplicate_bits=-1)
    assert [Path(image.source).name[0] for image in images] == ["1", "8", "9"]
    assert [Path(row.detail).name[0] for row in rejects if "duplicate" in row.reason] == ["2"]


def test_a_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    source = fill(tmp_path / "images")
    before, _ = run_images(tmp_path, sourcing__source=str(source))
    (source / "a" / "1 good.png").write_bytes(encoded(photo(5), "PNG"))
    after, _ = run_images(tmp_path, sourcing__source=str(source))
    assert before[0].source == after[0].source
    assert before[0].blob != after[0].blob


def test_what_is_known_of_an_image_comes_with_it(tmp_path: Path) -> None:
    images, _ = run_images(tmp_path, sourcing__source=str(fill(tmp_path / "images")))
    with RunFolder(tmp_path / "run") as run:
        candidates = {row.id: row for row in run.read("sourcing", Candidate)}
        photos = {row.candidate_id: row for row in run.read("downloads", DownloadedImage)}
    assert images
    for image in images:
        candidate, taken = candidates[image.candidate_id], photos[image.candidate_id]
        assert (image.source, image.license, image.leaf) == (candidate.source, candidate.license, candidate.leaf)
        assert (image.blob, image.width, image.height, image.phash) == (
            taken.blob,
            taken.width,
            taken.height,
            taken.phash,
        )
        assert image.decisions == taken.measures
        assert taken.original == hashlib.sha256(Path(image.source.removeprefix("file:")).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sourcing__source": "no/such/folder"}, "no such folder"),
        ({"sourcing__source": "."}, "named as a leaf"),
        ({"downloads__min_side": 65}, "the stage produced 0 rows from 120 inputs: too_small 120"),
        ({"selection__held_out_leaves": ("c",)}, "no such leaves: c"),
    ],
)
def test_a_source_that_can_give_nothing_is_told(
    tmp_path: Path, options: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises((ConfigError, GateError), match=told) as caught:
        run_images(tmp_path, **options)
    assert caught.value.then
    with RunFolder(tmp_path / "run") as run:
        assert run.manifest("selection") is None


def test_the_miniature_tells_of_a_taxonomy_that_it_cannot_draw(tmp_path: Path) -> None:
    names = ", ".join(f'{{ name = "leaf {number}" }}' for number in range(54))
    (tmp_path / "large.toml").write_text(TAXONOMY.replace('{ name = "a" }, { name = "b" }', names))
    config = read_config({"taxonomy": {"file": str(tmp_path / "large.toml")}}, {}, "a test")
    with pytest.raises(ConfigError, match="54 leaves"):
        asyncio.run(run_build(config, tmp_path / "run", "selection", Screen()))
