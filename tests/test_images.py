"""Invariants of chosen images: none twice, none on two sides, each kept or rejected with its reason."""

import asyncio
import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pictures import JPEG, PNG, UNUSABLE, encoded, photo

from spavl.drive import drive
from spavl.errors import ConfigError, GateError
from spavl.images.splits import split_of
from spavl.progress import Screen
from spavl.records import Candidate, Image, Photo, Reject
from spavl.settings import read_config
from spavl.store import RunFolder

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

blobs = st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), unique=True, max_size=40)
shares = st.floats(0, 1, exclude_max=True)


@given(blobs, st.integers(0, 50), shares)
def test_every_picture_is_in_one_split_and_the_test_has_its_size(found: list[str], test: int, share: float) -> None:
    splits = split_of(found, test, share, held_out=False)
    assert len(splits) == len(found)
    assert set(splits) <= {"train", "validation", "test"}
    assert splits.count("test") == min(test, len(found))


@given(blobs.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))), st.integers(0, 50), shares)
def test_a_split_does_not_hang_on_the_order_of_finding(
    orders: tuple[list[str], list[str]], test: int, share: float
) -> None:
    first, second = (dict(zip(found, split_of(found, test, share, False), strict=True)) for found in orders)
    assert first == second


@given(blobs, st.integers(0, 50), shares)
def test_all_pictures_of_a_held_out_leaf_are_held_out(found: list[str], test: int, share: float) -> None:
    assert split_of(found, test, share, held_out=True) == ["held_out"] * len(found)


@given(blobs, st.integers(0, 5), shares, shares)
def test_a_larger_validation_share_takes_nothing_from_validation(
    found: list[str], test: int, one: float, two: float
) -> None:
    small, large = (split_of(found, test, share, held_out=False) for share in sorted((one, two)))
    assert all(then == now for now, then in zip(small, large, strict=True) if now != "train")


# --- the stage


def run_images(tmp_path: Path, **options: Any) -> tuple[list[Image], list[Reject]]:
    """The images of a road with these options (two underscores for the dot), and all that was rejected on the way."""
    (tmp_path / "taxonomy.toml").write_text(TAXONOMY)
    table: dict[str, Any] = {"taxonomy": {"file": str(tmp_path / "taxonomy.toml")}}
    for name, value in options.items():
        section, key = name.split("__")
        table.setdefault(section, {})[key] = value
    asyncio.run(drive(read_config(table, {}, "a test"), tmp_path / "run", "images", Screen()))
    with RunFolder(tmp_path / "run") as run:
        rejects = [row for stage in ("candidates", "pictures", "images") for row in run.read(stage, Reject)]
        return list(run.read("images", Image)), rejects


def test_a_twin_is_in_the_split_of_its_original(tmp_path: Path) -> None:
    images, _ = run_images(tmp_path, images__per_leaf=12, images__test_per_leaf=4, images__validation_share=0.5)
    originals = {image.id: image for image in images if image.twin_of is None}
    twins = [image for image in images if image.twin_of]
    assert len(originals) == len(twins) == 24
    assert {image.split for image in originals.values()} == {"train", "validation", "test"}
    for twin in twins:
        original = originals[twin.twin_of or ""]
        assert (twin.split, twin.leaf, twin.subject) == (original.split, original.leaf, original.subject)
        assert original.harmful and not twin.harmful


def test_a_held_out_leaf_gives_nothing_to_the_other_splits(tmp_path: Path) -> None:
    images, _ = run_images(tmp_path, images__per_leaf=4, images__test_per_leaf=1, images__held_out_leaves=("b",))
    assert all((image.leaf == "b") == (image.split == "held_out") for image in images)
    assert {image.leaf for image in images} == {"a", "b"}


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
    pictures = fill(tmp_path / "pictures")
    images, rejects = run_images(tmp_path, candidates__source=str(pictures))
    outcome = {image.source: None for image in images}
    # Behind the source may stand what was measured, or whom it is like.
    outcome |= {reject.detail.partition(" (")[0].partition(" is like")[0]: reject.reason for reject in rejects}
    assert outcome == {f"file:{pictures}/a/{name}": reason for name, (_, reason) in FILES.items()}


def test_no_more_pictures_are_kept_than_are_wanted(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "pictures")
    images, rejects = run_images(tmp_path, candidates__source=str(pictures), images__per_leaf=1)
    assert [image.source for image in images] == [f"file:{pictures}/a/1 good.png"]
    assert Counter(reject.reason for reject in rejects) == {"duplicate": 1, "wrong_extension": 1}, (
        "3 were to be looked at"
    )


def test_a_picture_stands_in_one_leaf_only(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "pictures")
    (pictures / "not a leaf").rename(pictures / "b")
    images, _ = run_images(tmp_path, candidates__source=str(pictures))
    assert [image.leaf for image in images] == ["a", "a"]


def test_a_file_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "pictures")
    before, _ = run_images(tmp_path, candidates__source=str(pictures))
    (pictures / "a" / "1 good.png").write_bytes(encoded(photo(5), "PNG"))
    after, _ = run_images(tmp_path, candidates__source=str(pictures))
    assert before[0].source == after[0].source
    assert before[0].blob != after[0].blob


def test_what_is_known_of_a_picture_comes_with_it(tmp_path: Path) -> None:
    images, _ = run_images(tmp_path, candidates__source=str(fill(tmp_path / "pictures")))
    with RunFolder(tmp_path / "run") as run:
        candidates = {row.id: row for row in run.read("candidates", Candidate)}
        photos = {row.candidate_id: row for row in run.read("pictures", Photo)}
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
        ({"candidates__source": "no/such/folder"}, "no such folder"),
        ({"candidates__source": "."}, "named as a leaf"),
        ({"pictures__smallest_side": 65}, "not one picture is left"),
        ({"images__held_out_leaves": ("c",)}, "no such leaves: c"),
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
        assert run.manifest("images") is None


def test_the_miniature_tells_of_a_taxonomy_that_it_cannot_draw(tmp_path: Path) -> None:
    names = ", ".join(f'{{ name = "leaf {number}" }}' for number in range(54))
    (tmp_path / "large.toml").write_text(TAXONOMY.replace('{ name = "a" }, { name = "b" }', names))
    config = read_config({"taxonomy": {"file": str(tmp_path / "large.toml")}}, {}, "a test")
    with pytest.raises(ConfigError, match="54 leaves"):
        asyncio.run(drive(config, tmp_path / "run", "images", Screen()))
