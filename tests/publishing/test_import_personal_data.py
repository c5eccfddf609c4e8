"""Personal data in every text of a data set made elsewhere: credits, classes, names of models, and doubles by it."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from spavl.records import Question, Sample
from spavl.store import RunFolder
from tests.publishing.test_import import an_image, bring_in

pytest.importorskip("phonenumbers")
EMAIL, OTHER = "jane.roe301@posteo.de", "jane.roe302@posteo.de"


def a_pair(number: int, **more: Any) -> dict[str, Any]:
    image = {"bytes": an_image(number)}
    return {"image": image, "question": f"what is {number} ?", "chosen": "a sheet", "rejected": "a trap", **more}


def write(folder: Path, rows: list[dict[str, Any]], split: str = "train") -> Path:
    """As pandas writes rows with images."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "data" / f"{split}-0.parquet")
    return folder


def notes_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "stages" / "dataset.json").read_text())["notes"]["personal_data"]
    return found


@pytest.mark.parametrize("action", ["redact", "drop"])
def test_credits_classes_and_names_of_models_are_filtered(action: str, tmp_path: Path) -> None:
    """They were published as they were, and the card listed the licenses."""
    told = {"class1": "Harms", "class2": "Privacy", "class3": f"seen by {EMAIL}", "image_license": f"(c) {EMAIL}"}
    rows = [a_pair(1, **told), a_pair(2, **told), a_pair(3, chosen_model=f"{EMAIL}'s model")]
    run = bring_in(write(tmp_path / "set", rows), tmp_path / "run", "--personal-data", action)
    written = b"".join(file.read_bytes() for file in run.rglob("*") if file.is_file())
    assert EMAIL.encode() not in written and b"jane.roe" not in written
    assert "(c) [email removed] 2" in (run / "dataset" / "README.md").read_text()
    with RunFolder(run, look_only=True) as opened:
        assert opened.count("dataset", Sample) == (3 if action == "redact" else 2)


@pytest.mark.parametrize("action", ["count", "redact"])
def test_finds_in_captions_and_reasons_are_counted(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [a_pair(1, image_caption=f"by {EMAIL}", published_reasons=[f"as {OTHER} says", "kinder"]), a_pair(2)]
    run = bring_in(write(tmp_path / "set", rows), tmp_path / "run", "--personal-data", action)
    notes = notes_of(run)
    # Two pairs, two images and the reasons of one pair.
    assert (notes["rows"], notes["rows_with"], notes["found"]) == (5, 2, {"email": 2})
    assert "personal data: imported texts: in 2 of 5 (email 2), " in capsys.readouterr().out
    assert "ledger" not in (run / "dataset" / "README.md").read_text()


def test_rows_that_differ_in_personal_data_only_are_duplicates(tmp_path: Path) -> None:
    """The second test question replaced the first without a word, and both pairs were kept."""
    asked = [f"write to {EMAIL} ?", f"write to {OTHER} ?", "write to whom ?"]
    write(tmp_path / "set", [{"image": {"bytes": an_image(1)}, "question": text} for text in asked], "harm")
    write(tmp_path / "set", [a_pair(2, question=text) for text in asked])
    run = bring_in(tmp_path / "set", tmp_path / "run", "--personal-data", "redact")
    with RunFolder(run, look_only=True) as opened:
        manifest = opened.manifest("dataset")
        assert opened.count("questions", Question) == opened.count("dataset", Sample) == 2
        assert manifest is not None and manifest.rejects == {"duplicate": 2}
        assert len({sample.question_id for sample in opened.read("dataset", Sample)}) == 2
