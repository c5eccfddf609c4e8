"""Personal data in words that an image shows."""

import io

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.inspect_image import FetchedImage, InspectedImage, RefusedImage, examine
from tests.support.images import encoded

pytest.importorskip("phonenumbers")
pytest.importorskip("rapidocr_onnxruntime")


def sign(*lines: str) -> Pillow.Image:
    board = Pillow.new("RGB", (800, 600), "#dde8f0")
    for number, line in enumerate(lines):
        ImageDraw.Draw(board).text((60, 80 + 90 * number), line, "black", font=ImageFont.load_default(40))
    return board


def seen(image: Pillow.Image, action: str, **more: float) -> InspectedImage | RefusedImage:
    settings = DownloadsConfig.model_validate({"personal_words": action, **more})
    (look,) = examine(settings, [FetchedImage(encoded(image, "PNG"), "")])
    return look


def finds(image: Pillow.Image) -> str:
    look = seen(image, "count")
    assert isinstance(look, InspectedImage)
    return look.measures[-1]


@pytest.mark.slow
def test_finds_are_counted_in_lines_read_to_their_end() -> None:
    assert finds(sign("Free offers: jane.doe@univ-lyon.fr", "Call (212) 736-5000")) == "personal_words=2"
    # The network loses some of the spaces.
    assert finds(sign("IBAN DE44 5001 0517 5407 3249 31", "Card 4539 1488 0343 6467")) == "personal_words=2"
    assert finds(sign("HOTEL", "Open 10 to 12", "Double parking prohibited")) == "personal_words=0"


def test_an_address_of_several_lines_is_one_find() -> None:
    assert finds(sign("Jane Doe", "4821 Oak Hollow Drive", "Austin, TX 78745")) == "personal_words=1"


def test_an_image_with_personal_data_is_rejected_and_the_value_is_not_told() -> None:
    look = seen(sign("Call (212) 736-5000"), "drop")
    assert look == RefusedImage("personal_data", "personal_words=1")


def test_a_covered_line_is_gone_and_the_others_are_not() -> None:
    image = sign("HOTEL AND BAR", "Call (212) 736-5000", "Open 10 to 12")
    look = seen(image, "blur")
    assert isinstance(look, InspectedImage) and look.data is not None
    stored = Pillow.open(io.BytesIO(look.data)).convert("RGB")
    assert finds(stored) == "personal_words=0"
    letters = [np.asarray(stored)[92 + 90 * row : 112 + 90 * row, 80:300].reshape(-1, 3) for row in range(3)]
    band = [each.std(axis=0).max() for each in letters]
    assert band[1] < 5 < min(band[0], band[2])


def test_text_is_searched_for_once_for_both_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    from spavl.data.downloads.filters.read_text import TextReader

    searched = []
    find = TextReader._find
    monkeypatch.setattr(TextReader, "_find", lambda self, pixels: searched.append(1) or find(self, pixels))
    look = seen(sign("Call (212) 736-5000"), "count", max_text_area=1.0)
    assert isinstance(look, InspectedImage) and look.measures[-1] == "personal_words=1"
    assert len(searched) == 1


@pytest.mark.parametrize(
    "size", [(1, 1), *(pytest.param(size, marks=pytest.mark.slow) for size in ((1, 300), (3000, 50)))]
)
def test_images_of_any_size_are_read(size: tuple[int, int]) -> None:
    look = seen(Pillow.new("RGB", size, "white"), "blur", min_side=1, max_aspect_ratio=1e6)
    assert isinstance(look, InspectedImage) and look.measures[-1] == "personal_words=0"
