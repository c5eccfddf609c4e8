"""What is shown to a model is an image that its server takes; all else is named before anything is asked."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from spavl.errors import ConfigError
from spavl.evaluation.benchmarks import registry
from spavl.imaging.sendable import NotSendable, sendable
from spavl.models.backends.openai import media_type
from spavl.models.types import ImageData
from tests.support.benchmark_files import an_image, in_base64, put_csv, put_json
from tests.support.evaluations import png

PIXELS = np.random.default_rng(3).integers(0, 256, (30, 40, 3)).astype(np.uint8)


def written(kind: str, image: Image.Image | None = None) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(buffer, kind, **({"quality": 100} if kind == "AVIF" else {}))
    return buffer.getvalue()


def numpy_file() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, PIXELS)
    return buffer.getvalue()


NO_IMAGES = {
    "a page": (b"<html><body>404 not found</body></html>", "begin with b'<html>"),
    "half a PNG": (written("PNG")[:60], "cannot be read to its end"),
    "half a JPEG": (written("JPEG")[:900], "cannot be read to its end"),
    "half a WebP": (written("WEBP")[:300], "cannot be read to its end"),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>', "an SVG"),
    "a drawing in base64": (base64.b64encode(b"<html>404</html>"), "are no image"),
    "an array": (numpy_file(), "are no image"),
    "a TIFF of inks": (written("TIFF", Image.new("CMYK", (4, 4))), "a TIFF of mode CMYK; write it as PNG"),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_is_told_by_what_it_is(tmp_path: Path, kind: str) -> None:
    data, what = NO_IMAGES[kind]
    pd.DataFrame({"question": ["What?"] * 2, "image": [png(1), data]}).to_parquet(tmp_path / "harm-0.parquet")
    first, second = registry.benchmark_named("harmeval").items(tmp_path)
    assert first.image and second.image and first.image() == png(1)
    with pytest.raises(ConfigError, match=what) as caught:
        second.image()
    assert caught.value.where == f"{tmp_path / 'harm-0.parquet'}, row 1, column image"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "MPO"])
def test_what_servers_take_is_sent_as_it_is(kind: str) -> None:
    data = written(kind)
    assert sendable(data) == data
    assert media_type(ImageData.of(data)) == f"image/{'jpeg' if kind == 'MPO' else kind.lower()}"


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "AVIF"])
def test_other_formats_become_png_without_loss(kind: str) -> None:
    data = written(kind)
    assert media_type(ImageData.of(sendable(data))) == "image/png"
    pixels = [np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in (data, sendable(data))]
    assert (pixels[0] == pixels[1]).all()


def test_base64_in_a_column_of_bytes_is_what_it_holds() -> None:
    text = base64.b64encode(written("PNG"))
    lines = b"\n".join(text[place : place + 76] for place in range(0, len(text), 76))
    for data in (text, lines, b"data:image/png;base64," + text):
        assert sendable(data) == written("PNG")
    with pytest.raises(NotSendable, match="are no image"):
        sendable(b"changed")


def test_images_in_every_other_place_are_looked_at_too(tmp_path: Path) -> None:
    """A file that is named, base64 in a TSV, and the file of a benchmark that names none."""
    page = b"<html>404</html>"
    put_json(tmp_path / "siuo_gen.json", [{"question_id": 1, "question": "x", "category": "c", "image": "1.png"}])
    row = {"index": 1, "image": in_base64(page), "question": "x", "A": "a", "B": "b", "answer": "A"}
    put_csv(tmp_path / "MMBench_DEV_EN.tsv", [row])
    science = {"question": "x", "choices": ["a", "b"], "answer": 0, "image": "image.png"}
    (tmp_path / "problems.json").write_text(json.dumps({"3": science}))
    (tmp_path / "pid_splits.json").write_text('{"test": ["3"]}')
    (tmp_path / "test/3").mkdir(parents=True)
    for name in ("1.png", "test/3/image.png"):
        (tmp_path / name).write_bytes(page)
    for name in ("siuo", "mmbench", "scienceqa"):
        (found,) = registry.benchmark_named(name).items(tmp_path)
        assert found.image
        with pytest.raises(ConfigError, match="begin with b'<html>404"):
            found.image()
    (tmp_path / "1.png").write_bytes(an_image(1))
    (found,) = registry.benchmark_named("siuo").items(tmp_path)
    assert found.image and found.image() == an_image(1)
