"""Near duplicates against images of one layout with other words: memes, pages, signs, drawn here."""

import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from spavl.data.dataset.audit import find_leaks
from spavl.data.dataset.config import LeaksConfig
from spavl.engine.details import open_details
from spavl.imaging.detail import Pair, alike, are_alike_moved, detail_of
from spavl.imaging.phash import perceptual_hash
from spavl.records import Image, Split
from tests.data.dataset.test_dataset import an_image
from tests.data.selection.test_selection import run_images
from tests.support.images import encoded

SENTENCE = "the cat sat when you see your friend again after a long night and nobody knows why it is so late"
WORDS = SENTENCE.split()


def font(size: int) -> ImageFont.FreeTypeFont:
    """The one that comes with Pillow."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont)
    return found


def said(rng: Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def scene(number: int, size: tuple[int, int] = (480, 400)) -> Pillow.Image:
    """As a photograph: large shapes, small shapes and grain."""
    rng = np.random.default_rng(number)
    layers = []
    for cells, strength in ((4, 90), (12, 45), (40, 25), (160, 14)):
        noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layer = np.asarray(Pillow.fromarray(noise).resize(size, Pillow.Resampling.BICUBIC), dtype=np.float32)
        layers.append((layer - 128) * strength / 128)
    return Pillow.fromarray(np.clip(128 + sum(layers), 0, 255).astype(np.uint8))


def meme(template: int, words: int) -> Pillow.Image:
    rng, image = Random(words), scene(template)
    for top in (30, 370):
        ImageDraw.Draw(image).text(
            (240, top), said(rng, 3).upper(), "white", font(30), "mm", stroke_width=3, stroke_fill="black"
        )
    return image


def captioned(template: int, words: int) -> Pillow.Image:
    """With a line of words above."""
    image = Pillow.new("RGB", (480, 450), "white")
    image.paste(scene(template), (0, 50))
    ImageDraw.Draw(image).text((12, 12), said(Random(words), 5), "black", font(28))
    return image


def sign(_: int, words: int) -> Pillow.Image:
    """Steps to be filled in, as FigStep writes them."""
    rng, image = Random(words), Pillow.new("RGB", (500, 500), "white")
    for line, text in enumerate(["Steps to", f"{rng.choice(WORDS)} {rng.choice(WORDS)}.", "1.", "2.", "3."]):
        ImageDraw.Draw(image).text((20, 30 + 90 * line), text, "black", font(64))
    return image


def copies(image: Pillow.Image) -> Iterator[Pillow.Image]:
    """Saved worse, smaller, and cropped a little."""
    width, height = image.size
    yield opened(encoded(image, "JPEG", quality=30))
    yield image.resize((width // 2, height // 2))
    yield opened(encoded(image.resize((200, 200 * height // width)), "JPEG", quality=40))
    for left, top, right, bottom in ((0.01, 0.01, 0.01, 0.01), (0.02, 0.02, 0.02, 0.02), (0.03, 0, 0, 0.02)):
        box = (int(left * width), int(top * height), width - int(right * width), height - int(bottom * height))
        yield opened(encoded(image.crop(box), "JPEG", quality=85))


def opened(data: bytes) -> Pillow.Image:
    return Pillow.open(io.BytesIO(data)).convert("RGB")


def near(one: Pillow.Image, two: Pillow.Image, most: int = 6) -> bool:
    return (int(perceptual_hash(one), 16) ^ int(perceptual_hash(two), 16)).bit_count() <= most


def same(one: Pillow.Image, two: Pillow.Image) -> bool:
    return alike(detail_of(one), [detail_of(two)], are_alike_moved)[0]


@pytest.mark.parametrize("drawn", [meme, captioned, sign])
def test_one_layout_with_other_words_is_no_duplicate(drawn: Callable[[int, int], Pillow.Image]) -> None:
    images = [drawn(1, words) for words in range(12)]
    pairs = [pair for pair in itertools.combinations(images, 2) if near(*pair)]
    assert len(pairs) >= 2, "their hashes agree"
    assert not any(same(*pair) for pair in pairs)
    saved = [(one, opened(encoded(two, "JPEG", quality=60))) for one, two in pairs]
    assert not any(same(*pair) for pair in saved)


def test_a_copy_is_a_duplicate_that_was_saved_worse_smaller_or_cropped() -> None:
    for original in (*(scene(number) for number in range(6)), meme(1, 1), captioned(2, 2), sign(0, 3)):
        found = [same(original, copy) for copy in copies(original) if near(original, copy)]
        assert len(found) >= 3 and all(found)


def small_caption(words: int) -> Pillow.Image:
    image = scene(1, (512, 384))
    ImageDraw.Draw(image).text(
        (256, 360), said(Random(words), 6), "white", font(12), "mm", stroke_width=1, stroke_fill="black"
    )
    return image


def faint_words(words: int) -> Pillow.Image:
    rough = np.random.default_rng(1).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    shapes = Pillow.fromarray(rough).resize((512, 384), Pillow.Resampling.BICUBIC)
    image = Pillow.blend(shapes, Pillow.new("RGB", shapes.size, "white"), 0.6)
    ImageDraw.Draw(image).text((20, 20), said(Random(words), 3).upper(), (200, 200, 200), font(36))
    return image


def page(number: int, other_line: str = "") -> Pillow.Image:
    rng, image = Random(number), Pillow.new("RGB", (600, 800), "white")
    for line in range(28):
        text = said(rng, 10)
        ImageDraw.Draw(image).text((20, 20 + 27 * line), other_line if other_line and line == 12 else text, 0, font(18))
    return image


@pytest.mark.parametrize("drawn", [small_caption, faint_words, lambda words: page(1, said(Random(words), 10))])
def test_small_or_faint_words_and_one_line_of_a_page_are_seen(drawn: Callable[[int], Pillow.Image]) -> None:
    pairs = [pair for pair in itertools.combinations([drawn(words) for words in range(4)], 2) if near(*pair)]
    assert len(pairs) >= 2, "their hashes agree"
    assert not any(same(*pair) for pair in pairs)
    saved = [(one, opened(encoded(two, "JPEG", quality=60))) for one, two in pairs]
    assert not any(same(*pair) for pair in saved)


def test_a_page_of_text_is_found_at_half_its_size() -> None:
    for number in range(6):
        original = page(number)
        half = original.resize((300, 400))
        assert near(original, half) and same(original, half)


def test_the_noise_of_a_gif_is_no_difference() -> None:
    for original in (meme(1, 1), captioned(2, 2), faint_words(1), *(scene(number) for number in range(3))):
        assert same(original, opened(encoded(original, "GIF")))


def test_of_memes_of_one_template_hardly_a_pair_is_brought_into_register() -> None:
    """That takes a hundred times longer than to compare two as they lie."""
    details, registered = [detail_of(meme(1, words)) for words in range(24)], list[Pair]()

    def register(pairs: list[Pair]) -> list[bool]:
        registered.extend(pairs)
        return are_alike_moved(pairs)

    for place, detail in enumerate(details[:-1]):
        assert not any(alike(detail, details[place + 1 :], register))
    assert len(registered) <= 3, "of 276"
    cropped = detail_of(meme(1, 3).crop((5, 4, 475, 396)))
    assert alike(cropped, details, register) == [words == 3 for words in range(24)]


def test_plain_images_are_alike_whatever_their_colour() -> None:
    white, black = (Pillow.new("RGB", (64, 64), colour) for colour in ("white", "black"))
    assert same(white, black)


@pytest.mark.slow
def test_a_run_keeps_memes_of_one_template_and_drops_copies(tmp_path: Path) -> None:
    folder = tmp_path / "images" / "a"
    folder.mkdir(parents=True)
    for words in range(5):
        (folder / f"{words}.png").write_bytes(encoded(meme(1, words), "PNG"))
    for number, copy in enumerate(itertools.islice(copies(meme(1, 2)), 3)):
        (folder / f"9 copy {number}.jpg").write_bytes(encoded(copy, "JPEG", quality=85))
    images, rejects = run_images(tmp_path, sourcing__source=str(tmp_path / "images"), selection__per_leaf=9)
    assert [Path(image.source).stem for image in images] == ["0", "1", "2", "3", "4"]
    assert [reject.reason for reject in rejects] == ["near_duplicate"] * 3
    assert all("is like" in reject.detail and "/2.png" in reject.detail for reject in rejects)


def test_the_audit_tells_a_copy_of_a_tested_meme_and_no_other_meme() -> None:
    tested, copy, other = meme(1, 1), next(copies(meme(1, 1))), meme(1, 2)
    held = {"tested": tested, "copy": copy, "other": other}

    def placed(name: str, split: Split) -> Image:
        return replace(an_image(name, split), phash=perceptual_hash(held[name]))

    with open_details(lambda name: encoded(held[name], "PNG")) as details:
        images = [placed("tested", "test"), placed("copy", "train"), placed("other", "train")]
        leaks = find_leaks(images, list, LeaksConfig(near_image_bits=7), details.alike).leaks
        assert [(leak.reason, leak.one.id) for leak in leaks] == [("leak_near_image", images[1].id)]
    by_hash = find_leaks(images, list, LeaksConfig(near_image_bits=7)).leaks
    assert len(by_hash) == 2, "by the hash alone both are"


def test_bytes_that_cannot_be_decoded_leave_the_word_to_the_hash() -> None:
    with open_details(lambda name: b"no image" if name == "broken" else encoded(meme(1, int(name)), "PNG")) as details:
        assert list(details.alike("1", ["broken", "2", "1"])) == ["broken", "1"]
        assert list(details.alike("broken", ["1", "2"])) == ["1", "2"]
