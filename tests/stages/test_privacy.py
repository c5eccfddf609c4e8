"""Personal data in what models write: found where rows are stored, whatever stage wrote them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from spavl.errors import MissingExtra
from spavl.pipeline.build import replay, run_build
from spavl.pipeline.settings import read_config
from spavl.records import Description, Question, Record, Reject, Response
from spavl.stages.privacy import PrivacyConfig, filter_rows
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.images import photo
from tests.support.records import filled
from tests.support.servers import Body, ChatServer
from tests.support.taxonomies import ONE_LEAF

pytest.importorskip("phonenumbers")
EMAIL, PHONE = "jane.doe@univ-lyon.fr", "(212) 736-5000"


def answer(body: Body) -> str:
    """A writer and a responder that tell whose the things are; on one of two images only."""
    if body["model"] == "guard":
        return "verdict: unsafe\nseverity: 2\nrefuses: no"
    asked = str(body["messages"])
    secret = asked.count("A") % 2 == 0
    if "CAPTION" in asked:
        return f"A sheet of colours; its owner is {EMAIL if secret else 'unknown'}."
    if "WRITE" in asked:
        return f"What would you say when {PHONE if secret else 'somebody'} calls about the sheet?"
    return f"I would write to {EMAIL} and call {PHONE} about it." if secret else "I would not say anything at all."


def settings(folder: Path, url: str, texts: str) -> dict[str, Any]:
    images = folder / "images" / "a"
    if not images.exists():
        images.mkdir(parents=True)
        for number in range(6):
            photo(number, 96).save(images / f"{number}.png")
        (folder / "one.toml").write_text(ONE_LEAF)
        for name, files in {
            "captions": {"caption": "CAPTION"},
            "questions": dict.fromkeys(("easy", "hard", "statement"), "WRITE about {leaf}"),
        }.items():
            (folder / name).mkdir()
            for file, text in files.items():
                (folder / name / f"{file}.txt").write_text(text)
    model = f"openai/any@{url}"
    return {
        "seed": 1,
        "taxonomy": {"file": str(folder / "one.toml")},
        "sourcing": {"source": str(folder / "images")},
        "downloads": {"workers": 1},
        "selection": {"per_leaf": 6, "test_share": 0},
        "captions": {"writer": model, "prompts": str(folder / "captions")},
        "questions": {"writer": model, "prompts": str(folder / "questions"), "neighbours": False},
        "verdicts": {"guard": f"openai/guard@{url}", "canaries": "warn", "most_contradicted": 1},
        "responses": {"models": [model, f"openai/two@{url}"]},
        "privacy": {"texts": texts},
    }


def build(folder: Path, out: Path, url: str, texts: str, until: str = "responses") -> None:
    config = read_config(settings(folder, url, texts), {}, "the test")
    asyncio.run(run_build(config, out, until, Screen(quiet=True)))


def rows_of(out: Path, stage: str, kind: type[Record]) -> list[Any]:
    with RunFolder(out, look_only=True) as run:
        return list(run.read(stage, kind))


def notes_of(out: Path, stage: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads((out / "stages" / f"{stage}.json").read_text())["notes"].get(
        "personal_data"
    )
    return found


def texts_in(out: Path) -> str:
    """All that stands in tables, reports, cards and logs; the ledger keeps the calls as they were."""
    found = ""
    for stage, kind in (("captions", Description), ("questions", Question), ("responses", Response)):
        found += "".join(str(row) for row in rows_of(out, stage, kind))
        found += "".join(str(row) for row in rows_of(out, stage, Reject))
    return found + "".join(file.read_text() for file in (*out.glob("*.json"), *out.glob("*.html"), *out.glob("*.toml")))


def test_what_models_write_is_kept_counted_redacted_or_dropped(tmp_path: Path) -> None:
    with ChatServer(answer) as server:
        for action in ("keep", "count", "redact", "drop"):
            build(tmp_path, tmp_path / action, server.url, action)
    assert EMAIL in texts_in(tmp_path / "keep") and EMAIL in texts_in(tmp_path / "count")
    assert notes_of(tmp_path / "keep", "responses") is None
    counted, redacted = notes_of(tmp_path / "count", "captions"), notes_of(tmp_path / "redact", "captions")
    assert counted is not None and redacted is not None
    assert {**counted, "action": ""} == {**redacted, "action": ""}
    assert counted["found"]["email"] > 0
    for action in ("redact", "drop"):
        said = texts_in(tmp_path / action)
        assert EMAIL not in said and PHONE not in said
        assert "[email removed]" in said
    # Captions are redacted in any case, since their images must not be lost.
    assert len(rows_of(tmp_path / "drop", "captions", Description)) == 6
    dropped = [each for each in rows_of(tmp_path / "drop", "questions", Reject) if each.reason == "personal_data"]
    assert dropped and all(each.detail == "phone 1" for each in dropped)
    notes = notes_of(tmp_path / "drop", "questions")
    assert notes is not None and notes["dropped"] == len(dropped)


def test_the_summary_and_the_report_say_what_was_found(tmp_path: Path) -> None:
    with ChatServer(answer) as server:
        build(tmp_path, tmp_path / "run", server.url, "redact")
    rows = json.loads((tmp_path / "run" / "summary.json").read_text())["privacy"]
    assert [row["what"] for row in rows] == [
        "captions of the sources",
        "captions by the writer",
        "questions",
        "answers and their reasoning",
    ]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Faces and personal data" in page and "replaced by a mark" in page


def test_another_setting_does_again_what_it_concerns_and_pays_nothing_again(tmp_path: Path) -> None:
    with ChatServer(answer) as server:
        build(tmp_path, tmp_path / "run", server.url, "keep")
        before = {file.name: file.read_bytes() for file in (tmp_path / "run" / "stages").glob("*.json")}
        paid = server.seen.total()
        build(tmp_path, tmp_path / "run", server.url, "count")
        after = {file.name: file.read_bytes() for file in (tmp_path / "run" / "stages").glob("*.json")}
        assert server.seen.total() == paid
    unchanged = {name for name in before if before[name] == after[name]}
    assert unchanged == {"taxonomy.json", "downloads.json", "selection.json", "question_verdicts.json"}
    # Only counted: the rows are the same.
    for stage in ("captions", "questions", "responses"):
        assert json.loads(before[f"{stage}.json"])["content"] == json.loads(after[f"{stage}.json"])["content"]


def test_a_replay_filters_as_the_build_did(tmp_path: Path) -> None:
    with ChatServer(answer) as server:
        build(tmp_path, tmp_path / "run", server.url, "redact")
        config = read_config(settings(tmp_path, server.url, "redact"), {}, "the test")
    before = texts_in(tmp_path / "run")
    asyncio.run(replay(config, tmp_path / "run", "responses", Screen(quiet=True)))
    assert [row.text for row in rows_of(tmp_path / "run", "questions", Question)] and EMAIL not in before


def test_missing_libraries_stop_a_build_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spavl.text.personal_data.find.find_spec", lambda name: None)
    with ChatServer(answer) as server:
        with pytest.raises(MissingExtra, match="personal data needs") as told:
            build(tmp_path, tmp_path / "run", server.url, "count")
        assert not server.seen
    assert "privacy.texts" in str(told.value) and "pip install" in str(told.value)


def test_rows_that_refer_to_a_changed_row_follow_it() -> None:
    from spavl.data.questions.config import SPEC

    first = filled(Question, text=f"Who is {EMAIL} there?", twin_of=None, neighbour_of=None)
    twin = filled(Question, text=first.text, twin_of=first.id, neighbour_of=None)
    other = filled(Question, text="Who is there?", twin_of=None, neighbour_of=first.id)
    told = [Reject(parent_id="x", reason="repeats", detail=f"easy: ask {EMAIL}")]
    rows, rejects, found = filter_rows(PrivacyConfig(texts="redact"), SPEC, "p", [first, twin, other], told)
    assert [row.text for row in rows] == ["Who is [email removed] there?"] * 2 + ["Who is there?"]
    assert rows[1].twin_of == rows[2].neighbour_of == rows[0].id != first.id
    assert rejects[0].detail == "easy: ask [email removed]"
    assert found is not None and (found.rows_with, found.found) == (2, {"email": 2})
    rows, rejects, found = filter_rows(PrivacyConfig(texts="drop"), SPEC, "p", [first, twin, other], [])
    assert rows == [] and {each.reason for each in rejects} == {"personal_data"}
    assert found is not None and (found.rows_with, found.dropped) == (3, 3)
    assert filter_rows(PrivacyConfig(), SPEC, "p", [first], told) == ([first], told, None)
