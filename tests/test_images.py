"""Invariants of pictures: bytes of unknown origin do no harm, and no picture is ever on two sides."""

import asyncio
import hashlib
import io
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from spavl.drive import drive
from spavl.errors import ConfigError, GateError
from spavl.images.splits import split_of
from spavl.pictures.decode import LARGEST_BYTES, Undecodable, decode
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


def photo(number: int = 0, side: int = 64) -> Pillow.Image:
    """A picture with something in it, each number another one."""
    return Pillow.linear_gradient("L").resize((side, side)).rotate(7 * number).convert("RGB")


def encoded(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose head promises a size; its body is a few bytes."""
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", zlib.compress(bytes(64))) + png_chunk(b"IEND", b"")


KINDS = ("PNG", "JPEG", "WEBP", "GIF")
PICTURES = {kind: encoded(photo(), kind) for kind in KINDS}
PICTURES["moving GIF"] = encoded(photo(0), "GIF", save_all=True, append_images=[photo(1), photo(2)])
PICTURES["PNG in parts"] = encoded(photo().quantize(8), "PNG", transparency=0, icc_profile=b"no profile")

UNUSABLE = {
    "nothing": (b"", "undecodable"),
    "text": (b"no picture", "undecodable"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>', "undecodable"),
    "a web page": (b"<!doctype html><html><body>404</body></html>", "undecodable"),
    "half a PNG": (PICTURES["PNG"][: len(PICTURES["PNG"]) // 2], "undecodable"),
    "half a JPEG": (PICTURES["JPEG"][: len(PICTURES["JPEG"]) // 2], "undecodable"),
    "a PNG's head": (PICTURES["PNG"][:8], "undecodable"),
    "a TIFF": (encoded(photo(), "TIFF"), "undecodable"),
    "a bomb": (png_that_claims(20_000, 20_000), "too_many_pixels"),
    "a bomb just over the cap": (png_that_claims(7_100, 7_100), "too_many_pixels"),
    "too long a file": (bytes(LARGEST_BYTES + 1), "too_many_bytes"),
}


# --- decoding


@pytest.mark.parametrize(("data", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_usable_picture_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert str(caught.value) == reason


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_of_the_list_is_decoded_to_rgb(kind: str) -> None:
    decoded = decode(PICTURES[kind])
    assert (decoded.mode, decoded.size) == ("RGB", (64, 64))


@given(st.binary(max_size=400))
def test_random_bytes_are_never_more_than_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(data)


@settings(max_examples=300)
@given(st.sampled_from(sorted(PICTURES)), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=5))
def test_a_damaged_picture_is_decoded_or_undecodable_and_nothing_else(
    kind: str, damages: list[tuple[float, bytes]]
) -> None:
    data = bytearray(PICTURES[kind])
    for share, damage in damages:
        # Most of what can go wrong stands in the first bytes.
        place = int(share**3 * len(data))
        data[place : place + max(1, len(damage))] = damage
    try:
        assert decode(bytes(data)).mode == "RGB"
    except Undecodable as error:
        assert str(error) in ("undecodable", "too_many_pixels")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_moving_pictures_the_first_frame_is_taken(kind: str) -> None:
    black, white = (Pillow.new("RGB", (64, 64), shade) for shade in ("black", "white"))
    moving = encoded(black, kind, save_all=True, append_images=[white], duration=100)
    assert decode(moving).getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_nothing_but_the_pixels_is_left(kind: str) -> None:
    secrets = Pillow.Exif()
    secrets[0x010E] = "who took it, and where"
    data = encoded(photo(), kind, exif=secrets)
    assert b"who took it" in data
    decoded = decode(data)
    assert not decoded.info
    assert not decoded.getexif()


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
    "1 good.png": (PICTURES["PNG"], None),
    "2 the same again.png": (PICTURES["PNG"], "duplicate"),
    "3 really a JPEG.gif": (PICTURES["JPEG"], None),
    "4 tiny.png": (encoded(photo(side=47), "PNG"), "too_small"),
    "5 a page.jpg": (UNUSABLE["a web page"][0], "undecodable"),
    "6 a bomb.png": (UNUSABLE["a bomb"][0], "too_many_pixels"),
    "7 half.jpg": (UNUSABLE["half a JPEG"][0], "undecodable"),
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
    outcome = {image.source: None for image in images} | {reject.detail: reject.reason for reject in rejects}
    assert outcome == {f"file:{pictures}/a/{name}": reason for name, (_, reason) in FILES.items()}


def test_no_more_pictures_are_kept_than_are_wanted(tmp_path: Path) -> None:
    pictures = fill(tmp_path / "pictures")
    images, rejects = run_images(tmp_path, candidates__source=str(pictures), images__per_leaf=1)
    assert [image.source for image in images] == [f"file:{pictures}/a/1 good.png"]
    assert Counter(reject.reason for reject in rejects) == {"duplicate": 1, "over_quota": 1}, "3 were to be looked at"


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
