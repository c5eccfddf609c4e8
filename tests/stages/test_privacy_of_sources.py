"""Personal data in what a source or a judge says: counted once, and kept nowhere in the run folder."""

import asyncio
from pathlib import Path

import pandas as pd
import pytest

from spavl.data.sourcing.catalogue import Catalogue
from spavl.data.sourcing.readers.entry import RowLimits
from spavl.data.sourcing.shards import shards_of
from spavl.errors import GateError
from spavl.pipeline.build import run_build
from spavl.pipeline.settings import read_config
from spavl.records import Candidate, Image
from spavl.stages.privacy import PrivacyConfig
from spavl.terminal.progress import Screen
from tests.stages.test_privacy import notes_of, rows_of, settings
from tests.support.images import encoded, photo
from tests.support.servers import ChatServer

pytest.importorskip("phonenumbers")
EMAIL = "jane.roe301@posteo.de"
SAID = (
    (f"a thing by {EMAIL}", "mit"),
    ("a second thing", f"(c) {EMAIL}"),
    ("a third, of [email removed]", "mit"),
    (f"not searched for, {EMAIL}", "mit"),
)


def a_source(folder: Path) -> Path:
    """As pandas writes a table of images; the last row is no candidate of the leaf."""
    folder.mkdir(parents=True)
    rows = [
        {"image": {"bytes": encoded(photo(number, 96), "PNG")}, "caption": caption, "license": license_}
        for number, (caption, license_) in enumerate(SAID)
    ]
    pd.DataFrame(rows).to_parquet(folder / "images.parquet")
    return folder


def build(folder: Path, out: Path, texts: str) -> None:
    own = settings(folder, "http://localhost:1/v1", texts)
    own["sourcing"]["source"] = str(folder / "table")
    asyncio.run(run_build(read_config(own, {}, "the test"), out, "selection", Screen(quiet=True)))


def in_files(folder: Path) -> bool:
    return any(b"jane" in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_no_file_of_the_run_holds_what_was_removed_from_a_source(tmp_path: Path) -> None:
    """The catalogue held every caption of the source, and licenses were published as they were."""
    a_source(tmp_path / "table")
    for action in ("keep", "count", "redact"):
        build(tmp_path, tmp_path / "run", action)
        assert in_files(tmp_path / "run") == (action != "redact"), action
    notes = notes_of(tmp_path / "run", "sourcing")
    # All images of the source are searched, and a mark that the source itself holds is no find.
    assert notes == {"action": "redact", "rows": 4, "rows_with": 3, "dropped": 0, "found": {"email": 3}}
    licenses = {row.license for row in rows_of(tmp_path / "run", "selection", Image)}
    assert licenses == {"mit", "(c) [email removed]"}
    assert len(rows_of(tmp_path / "run", "sourcing", Candidate)) == 3


def test_a_mark_in_the_source_is_no_find(tmp_path: Path) -> None:
    own = settings(tmp_path, "http://localhost:1/v1", "redact")
    (tmp_path / "images" / "a" / "0.txt").write_text("by [email removed]")
    (tmp_path / "images" / "a" / "1.txt").write_text(f"by {EMAIL}, once [phone removed]")
    asyncio.run(run_build(read_config(own, {}, "the test"), tmp_path / "run", "sourcing", Screen(quiet=True)))
    notes = notes_of(tmp_path / "run", "sourcing")
    assert notes is not None and (notes["rows_with"], notes["found"]) == (1, {"email": 1})


def test_a_catalogue_that_was_filtered_otherwise_is_made_anew(tmp_path: Path) -> None:
    shards = shards_of(a_source(tmp_path / "table"))
    for texts in ("keep", "drop"):
        catalogue = Catalogue(tmp_path / "index" / "index.sqlite")
        privacy = PrivacyConfig.model_validate({"texts": texts})
        catalogue.build(shards, RowLimits(), Screen(quiet=True), privacy=privacy)
        found = [hit.entry.caption for hit in catalogue.search(["jane"], 9)]
        assert (len(found), catalogue.count()) == (2 if texts == "keep" else 0, 4)
        catalogue.close()
    assert not in_files(tmp_path / "index")


def test_what_a_judge_or_model_said_is_quoted_without_what_was_removed(tmp_path: Path) -> None:
    """A guard whose words cannot be parsed was quoted on the terminal, in the notes and on the card."""
    for action, is_shown in (("keep", True), ("redact", False)):
        with ChatServer(lambda body: f"How would {EMAIL} know?") as server:
            own = settings(tmp_path, server.url, action)
            with pytest.raises(GateError, match="canaries") as told:
                own["verdicts"]["canaries"] = "stop"
                asyncio.run(
                    run_build(read_config(own, {}, "the test"), tmp_path / action, "verdicts", Screen(quiet=True))
                )
        assert (EMAIL in str(told.value)) == is_shown
        assert ("[email removed]" in str(told.value)) != is_shown
