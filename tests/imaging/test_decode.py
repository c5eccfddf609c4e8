"""Invariants of decoding: bytes of unknown origin do no harm, and nothing but what is seen is kept."""

import io
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from spavl.data.selection.duplicates import HashClusters, near_hashes
from spavl.imaging.decode import LARGEST_BYTES, Undecodable, decode
from spavl.imaging.phash import perceptual_hash
from tests.support import images
from tests.support.images import JPEG, PNG, UNUSABLE, USABLE, encoded, photo, pixels, secrets

EXACT = [name for name, data in USABLE.items() if data[:4] in (b"\x89PNG", b"GIF8", b"\xff\xd8\xff\xe0")]


@pytest.mark.parametrize(("data", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_is_no_usable_image_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert str(caught.value) == reason


@pytest.mark.parametrize("data", USABLE.values(), ids=USABLE)
def test_what_is_kept_is_a_plain_image_without_secrets(data: bytes) -> None:
    shown = decode(data)
    assert shown.pixels.mode == "RGB"
    assert not shown.pixels.info
    kept = Pillow.open(io.BytesIO(shown.data))
    assert kept.format in ("JPEG", "PNG") and kept.size == shown.pixels.size
    assert not kept.getexif() and getattr(kept, "n_frames", 1) == 1
    assert b"who took it" not in shown.data and b"PK\x03\x04" not in shown.data
    assert decode(shown.data).data == shown.data, "what was cleaned is clean"


@pytest.mark.parametrize("name", [name for name in EXACT if name != "CMYK JPEG" and "side" not in name])
def test_exact_images_and_jpegs_keep_every_pixel(name: str) -> None:
    shown = decode(USABLE[name])
    assert pixels(shown.data) == shown.pixels.tobytes()


def test_a_clean_jpeg_is_kept_byte_by_byte() -> None:
    assert decode(JPEG).data == JPEG
    assert decode(encoded(photo(), "JPEG", exif=secrets())).data == JPEG


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_stands_as_it_is_shown_by_cameras(turn: int) -> None:
    corner = Pillow.new("RGB", (64, 32))
    corner.paste((255, 255, 255), (0, 0, 16, 16))
    shown = decode(encoded(corner, "JPEG", exif=secrets(turn))).pixels
    assert shown.size == ((64, 32) if turn <= 4 else (32, 64))
    # Where orientation n of EXIF puts the corner that is stored first.
    right, low = turn in (2, 3, 6, 7), turn in (3, 4, 7, 8)
    found = shown.getpixel((shown.width - 4 if right else 4, shown.height - 4 if low else 4))
    assert isinstance(found, tuple) and min(found) > 200


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_lies_under_clear_pixels_is_not_shown(kind: str) -> None:
    hidden = Pillow.new("RGBA", (64, 64), (200, 0, 0, 0))
    shown = decode(encoded(hidden, kind, lossless=True, exact=True)).pixels
    assert shown.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_moving_images_the_first_frame_is_taken(kind: str) -> None:
    black, white = (Pillow.new("RGB", (64, 64), shade) for shade in ("black", "white"))
    moving = encoded(black, kind, save_all=True, append_images=[white], duration=100)
    assert decode(moving).pixels.getextrema() == ((0, 0),) * 3


def test_16_bits_become_8_by_scale_and_not_by_clipping() -> None:
    assert decode(USABLE["PNG of 16 bits"]).pixels.getpixel((0, 0)) == (155,) * 3


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG", "a.svg", "a.gif", "a.tiff"])
def test_a_name_that_promises_another_format_is_a_lie(name: str) -> None:
    with pytest.raises(Undecodable, match="wrong_extension"):
        decode(PNG, name)


@pytest.mark.parametrize("name", ["", "a", "a.PNG", "a.php", "a.jpg/photo", "png"])
def test_a_name_without_a_promise_tells_no_lie(name: str) -> None:
    assert decode(PNG, name).pixels.size == (64, 64)


@given(st.binary(max_size=400))
def test_random_bytes_are_never_more_than_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(data)


@settings(max_examples=400)
@given(st.sampled_from(sorted(USABLE)), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6)), max_size=5))
def test_a_damaged_image_is_clean_or_refused_and_nothing_else(kind: str, damages: list[tuple[float, bytes]]) -> None:
    data = bytearray(USABLE[kind])
    for share, damage in damages:
        # Most of what can go wrong stands in the first bytes.
        place = int(share**3 * len(data))
        data[place : place + max(1, len(damage))] = damage
    try:
        shown = decode(bytes(data))
    except Undecodable as error:
        assert str(error) in {reason for _, reason in UNUSABLE.values()}
        return
    assert shown.pixels.mode == "RGB"
    # A damage may leave an image that only a tolerant reader takes; read again, the kept one is the same image.
    assert pixels(shown.data) == decode(shown.data).pixels.tobytes()


def test_the_caps_of_tests_are_those_of_the_code() -> None:
    assert images.LARGEST_BYTES == LARGEST_BYTES


# --- perceptual hash and near-duplicates


def bits(one: Pillow.Image, two: Pillow.Image) -> int:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(two), 16)).bit_count()


@pytest.mark.parametrize("number", range(6))
def test_an_image_saved_worse_and_smaller_has_nearly_the_same_hash(number: int) -> None:
    original = photo(number, 512)
    worse = Pillow.open(io.BytesIO(encoded(original.resize((200, 200)), "JPEG", quality=30)))
    assert bits(original, worse.convert("RGB")) <= 6
    assert bits(original, photo(number + 3, 512)) > 12


def test_plain_images_have_one_hash_whatever_their_colour() -> None:
    shades = [Pillow.new("RGB", size, shade) for size in ((64, 64), (300, 50)) for shade in ("white", "black", "tan")]
    assert len({perceptual_hash(shade) for shade in shades}) == 1


def alike(hashes: list[int], most: int) -> list[tuple[int, int]]:
    found = near_hashes(hashes, most)
    places: dict[int, list[int]] = {}
    for place, hashed in enumerate(found.of.tolist()):
        places.setdefault(hashed, []).append(place)
    return [
        (one, two)
        for one in range(len(hashes))
        for hashed in found.like(int(found.of[one]))
        for two in places[hashed]
        if one < two
    ]


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(0, 11), st.integers(0, 80))
def test_images_that_look_alike_are_those_a_slow_search_finds(random: Random, most: int, count: int) -> None:
    found: list[int] = []
    for _ in range(count):
        number = random.choice(found) if found and random.random() < 0.6 else random.getrandbits(64)
        for _ in range(random.randrange(most + 3)):
            number ^= 1 << random.randrange(64)
        found.append(number)
    pairs = {(one, two) for two in range(count) for one in range(two)}
    like = {(one, two) for one, two in pairs if (found[one] ^ found[two]).bit_count() <= most}
    assert sorted(alike(found, most)) == sorted(like), "each once"


def test_what_is_near_among_a_hundred_thousand_hashes_is_found() -> None:
    numbers = np.random.default_rng(1).integers(0, 2**63, 100_000, dtype=np.uint64).tolist()
    found = near_hashes([*numbers, *numbers[:1000], numbers[0] ^ 5], 4)
    assert found.of[100_000:101_000].tolist() == found.of[:1000].tolist()
    assert set(found.like(int(found.of[101_000]))) == {int(found.of[0]), int(found.of[101_000])}
    assert len(found.starts) - 1 == 100_000, "two of 100,001 hashes are of one cluster"


def test_what_is_held_of_a_cluster_of_near_hashes_goes_by_its_hashes_and_not_by_their_pairs() -> None:
    random = Random(1)
    hashes = [sum(1 << bit for bit in random.sample(range(64), 3)) for _ in range(500)]
    found = near_hashes(hashes, 6)
    assert {len(found.like(number)) for number in range(len(found.hashes))} == {len(set(hashes))}
    held = sum(each.nbytes for each in found if isinstance(each, np.ndarray))
    assert held < 50 * len(hashes)


def test_each_pair_of_a_cluster_is_compared_once() -> None:
    compared = list[tuple[int, int]]()

    def compare(place: int, others: Sequence[int]) -> list[int]:
        compared.extend((min(place, other), max(place, other)) for other in others)
        return [other for other in others if (other - place) % 5 == 0]

    looks = HashClusters(np.arange(20), near_hashes([7] * 20, 6), compare)
    assert [looks.like(place) for place in range(20)] == [set(range(place % 5, 20, 5)) for place in range(20)]
    assert len(compared) == len(set(compared)) == 20 * 19 // 2
