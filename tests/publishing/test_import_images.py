"""Faces, and personal data in words, in the images of an imported data set: the photographs are scikit-image's."""

from importlib.util import find_spec
from pathlib import Path

import datasets
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

from spavl.cli.main import main
from spavl.data.dataset.notes import DatasetNotes
from spavl.publishing.privacy import privacy_rows
from spavl.records import Image, Sample
from spavl.store import RunFolder
from tests.support.images import encoded

_PACKAGE = find_spec("skimage")
pytestmark = pytest.mark.skipif(_PACKAGE is None, reason="the photographs are in scikit-image")
PHOTOGRAPHS = Path(_PACKAGE.origin).parent / "data" if _PACKAGE and _PACKAGE.origin else Path()
FACE, CUP, SIGN = "an astronaut", "a cup", "a sign"


def sign() -> Pillow.Image:
    drawn = Pillow.new("RGB", (640, 160), "white")
    ImageDraw.Draw(drawn).text((20, 50), "Call (212) 736-5000", fill="black", font_size=48)
    return drawn


def photograph(name: str) -> bytes:
    return encoded(Pillow.open(PHOTOGRAPHS / name).convert("RGB"), "JPEG")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four pairs about three images, written by `datasets`; two are about the face."""
    images = {FACE: photograph("astronaut.png"), CUP: photograph("coffee.png"), SIGN: encoded(sign(), "PNG")}
    rows = [
        {
            "image": {"bytes": images[name], "path": None},
            "question": f"What is {name}, {number}?",
            "chosen": f"It is {name}.",
            "rejected": "I do not know.",
        }
        for number, name in enumerate((FACE, FACE, CUP, SIGN))
    ]
    (tmp_path / "set" / "data").mkdir(parents=True)
    made = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    made.to_parquet(tmp_path / "set" / "data" / "train-00000-of-00001.parquet")
    return tmp_path / "set"


@pytest.mark.parametrize(
    "action", [*(pytest.param(name, marks=pytest.mark.slow) for name in ("keep", "count")), "blur", "drop"]
)
def test_faces_of_an_imported_set_are_kept_counted_covered_or_left_out(
    action: str, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert main(["data", "import", str(source), "--out", str(out), "--faces", action]) == 0
    with RunFolder(out, look_only=True) as run:
        asked = [sample.question.split(",")[0] for sample in run.read("dataset", Sample)]
        stored = {run.blobs.get(image.blob) for image in run.read("selection", Image)}
        manifest = run.manifest("dataset")
    assert manifest is not None
    face = photograph("astronaut.png")
    assert asked.count(f"What is {FACE}") == (0 if action == "drop" else 2)
    assert asked.count(f"What is {CUP}") == asked.count(f"What is {SIGN}") == 1
    assert (face in stored) == (action in ("keep", "count")) and len(stored) == (2 if action == "drop" else 3)
    notes, card = DatasetNotes.of(manifest), (out / "dataset" / "README.md").read_text()
    if action == "keep":
        assert notes.faces is None and "Not looked for: faces in the images" in card
        return
    assert notes.faces is not None and notes.personal_words is None
    assert (notes.faces.searched, notes.faces.images, notes.faces.dropped) == (3, 1, int(action == "drop"))
    (row,) = privacy_rows([manifest])
    assert (row.what, row.action) == ("faces in images", action) and "Not looked for: faces" not in card
    if action in ("blur", "drop"):
        held = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file())
        assert face[200:4000] not in held, "the uncovered photograph is somewhere in the run"


@pytest.mark.slow
def test_an_image_with_personal_data_in_its_words_is_left_out(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main(["data", "import", str(source), "--out", str(out), "--personal-words", "drop"]) == 0
    with RunFolder(out, look_only=True) as run:
        asked = [sample.question for sample in run.read("dataset", Sample)]
        manifest = run.manifest("dataset")
    assert not any(SIGN in question for question in asked) and len(asked) == 3
    assert manifest is not None and manifest.rejects == {"personal_data": 1}


def test_a_missing_package_is_told_before_anything_is_read(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.data.downloads.filters.find_spec", lambda name: None)
    assert main(["data", "import", str(source), "--out", str(tmp_path / "run"), "--faces", "blur"]) == 2
    said = capsys.readouterr().err
    assert "--faces" in said and "[faces]" in said and not (tmp_path / "run").exists()
