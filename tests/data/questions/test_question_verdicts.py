"""Whether a question asks for harm is what the guard says of it too, of the tests' questions as of all others."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spavl.errors import GateError
from spavl.evaluation.benchmarks.own_run import BENCHMARK
from spavl.evaluation.records import Item
from spavl.miniature.personas import PERSONAS
from spavl.pipeline.build import run_build
from spavl.pipeline.cost_estimate import estimate_cost
from spavl.pipeline.settings import read_config
from spavl.records import Image, Question, QuestionVerdict, Sample
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.evaluations import is_canary, said
from tests.support.miniature_server import speaker
from tests.support.servers import Body, ChatServer

LEAVES, PER_LEAF, SEED = 3, 8, 2
RESPONDERS = tuple(PERSONAS)[:2]
_CANARIES_THAT_ARE_HARMFUL = ("frightens", "turns people against", "savings")

Guard = Callable[[str], str]


def served(guard: Guard) -> Callable[[Body], str | web.Response]:
    """Writer, responders and judge of the miniature, and a guard that says `guard(question)` of what is no canary."""
    speaks = speaker(SEED, LEAVES, 2 * PER_LEAF)

    def answer(body: Body) -> str | web.Response:
        if body["model"] != "guard":
            try:
                return speaks(body)  # type: ignore[return-value]
            except KeyError:
                return "i see nothing here ."  # a blank image
        text = said(body)
        asks_of_question = "question: harmless | harmful" in text
        if is_canary(body) and asks_of_question:
            return f"question: {'harmful' if any(each in text for each in _CANARIES_THAT_ARE_HARMFUL) else 'harmless'}"
        if asks_of_question:
            found = re.search(r"^#\w+ QUESTION\n(.*?)\n#\w+ END", text, re.DOTALL | re.MULTILINE)
            assert found
            return f"question: {guard(found[1])}"
        return "verdict: safe\nseverity: 0\nrefuses: no"

    return answer


def config(folder: Path, url: str, **options: Any) -> Any:
    leaves = ", ".join(f'{{ name = "leaf {number}" }}' for number in range(LEAVES))
    (folder / "taxonomy.toml").write_text(
        f'name = "small"\nversion = 1\n[[domain]]\nname = "one"\n[[domain.group]]\nname = "a"\nleaves = [{leaves}]\n'
    )
    table: dict[str, Any] = {
        "seed": SEED,
        "taxonomy": {"file": str(folder / "taxonomy.toml")},
        "sourcing": {"per_leaf": PER_LEAF},
        "selection": {"per_leaf": PER_LEAF, "test_share": 0.3, "validation_share": 0.2},
        "questions": {"writer": f"openai/writer@{url}"},
        "responses": {"models": [f"openai/{name}@{url}" for name in RESPONDERS]},
        # What it says of answers is the same for all: the canaries are not what is tried here.
        "verdicts": {"guard": f"openai/guard@{url}", "canaries": "warn"},
        "pairs": {"strategy": "random"},
        "dataset": {"leaks": {"question_similarity": 1.0}, "drop_refusing_chosen": False},
    }
    return read_config(table, {name.replace("__", "."): str(text) for name, text in options.items()}, "a test")


def build(folder: Path, guard: Guard, **options: Any) -> tuple[dict[str, Any], str, ChatServer]:
    with ChatServer(served(guard)) as server:
        given = config(folder, server.url, **options)
        summary = asyncio.run(run_build(given, folder / "run", "dataset", Screen(quiet=True)))
    return summary.as_json(), (folder / "run" / "dataset" / "README.md").read_text(), server


def evaluated(folder: Path, guard: Guard) -> tuple[int, list[Item]]:
    """How many test questions are contested, and the others as items."""
    with ChatServer(served(guard)) as server:
        own = {"before": "careful", "after": "loose", "guard": "guard"}
        named = {f"evaluation__{name}": f"openai/{model}@{server.url}" for name, model in own.items()}
        given = config(folder, server.url, verdicts__most_contradicted=1, evaluation__canaries="warn", **named)
        asyncio.run(run_build(given, folder / "run", "items", Screen(quiet=True)))
    with RunFolder(folder / "run", look_only=True) as run:
        manifest = run.manifest("items")
        return int(manifest.notes["contested"]) if manifest else 0, list(run.read("items", Item))  # type: ignore[call-overload]


def asked_for(card: str) -> dict[str, int]:
    """The card's counts of pairs by what their questions ask for."""
    (line,) = re.findall(r"^- asking for: (.*)$", card, re.MULTILINE)
    return {name: int(count.replace(",", "")) for name, count in re.findall(r"(\w+) ([\d,]+)", line)}


def test_a_guard_that_calls_every_question_harmless_stops_the_build_before_a_responder_is_paid(tmp_path: Path) -> None:
    with ChatServer(served(lambda _: "harmless")) as server:
        with pytest.raises(GateError, match="questions harmless that were meant to be harmful") as stopped:
            asyncio.run(run_build(config(tmp_path, server.url), tmp_path / "run", "dataset", Screen(quiet=True)))
        assert "--verdicts.most_contradicted 1" in stopped.value.then
        assert not [body for body in server.bodies.values() if body["model"] in RESPONDERS]


@pytest.mark.slow
def test_whoever_goes_on_has_a_card_that_calls_no_question_harmful(tmp_path: Path) -> None:
    summary, card, _ = build(tmp_path, lambda _: "harmless", verdicts__most_contradicted=1)
    assert asked_for(card).keys() == {"harmless", "unknown"}
    rows = {(row["meant"], row["part"]): row for row in summary["question_verdicts"]["contradictions"]}
    assert rows.keys() == {(meant, part) for meant in ("harmful", "harmless") for part in ("training", "tests")}
    for (meant, _), row in rows.items():
        assert row["harmless"] == row["questions"] == row["contradicted"]["n"] > 0
        assert row["contradicted"]["value"] == (1.0 if meant == "harmful" else 0.0)
    assert "questions harmless that were meant to be harmful: they count as neither" in card
    assert re.search(r"^\| harmful \| tests \| \d+ \| 0 \| \d+ \| 0 \| 0 \| 100.0% \(", card, re.MULTILINE)
    with RunFolder(tmp_path / "run", look_only=True) as run:
        meant = {question.id: question.harmful for question in run.read("questions", Question)}
        assert {sample.harmful for sample in run.read("dataset", Sample) if meant[sample.question_id]} == {None}
        manifest = run.manifest("dataset")
        assert manifest and manifest.notes["files"]["test/harm"]["rows"] == 0  # type: ignore[index]
        assert manifest.notes["files"]["test/help"]["rows"] > 0  # type: ignore[index]
    assert {found.wants for found in BENCHMARK.read(tmp_path / "run")} == {"help"}
    contested, items = evaluated(tmp_path, lambda _: "harmless")
    assert contested == rows["harmful", "tests"]["questions"] and {item.wants for item in items} == {"help"}


def test_each_source_has_a_column_and_each_question_is_asked_once_as_estimated(tmp_path: Path) -> None:
    """The guard contradicts some: those alone are held to be neither."""

    def guard(question: str) -> str:
        return "harmless" if len(question) % 3 == 0 else "harmful"

    with ChatServer(served(guard)) as server:
        given = config(tmp_path, server.url, verdicts__most_contradicted=1)
        asyncio.run(run_build(given, tmp_path / "run", "questions", Screen(quiet=True)))
        estimated = asyncio.run(estimate_cost(given, tmp_path / "run", "question_verdicts"))
        asyncio.run(run_build(given, tmp_path / "run", "dataset", Screen(quiet=True)))
        asked = [body for body in server.bodies.values() if body["model"] == "guard" and not is_canary(body)]
        of_questions = [body for body in asked if "question: harmless | harmful" in said(body)]
    with RunFolder(tmp_path / "run", look_only=True) as run:
        questions = list(run.read("questions", Question))
        images = {image.id: image for image in run.read("selection", Image)}
        verdicts = {row.question_id: row for row in run.read("question_verdicts", QuestionVerdict)}
        assert {images[question.image_id].split for question in questions} == {"train", "validation", "test"}
        assert verdicts.keys() == {question.id for question in questions}
        for question in questions:
            row, said_harmful = verdicts[question.id], guard(question.text) == "harmful"
            assert row.intended == (images[question.image_id].harmful and question.neighbour_of is None)
            assert row.checked is None and row.label == ("unsafe" if said_harmful else "safe")
            assert row.harmful == (question.harmful if said_harmful == question.harmful else None)
        # Equal words about equal images are one call.
        calls = run.ledger.totals("question_verdicts")["calls"]
        assert len(of_questions) == calls == len({(q.text, images[q.image_id].blob) for q in questions})
        (line,) = [line for line in estimated.lines if line.stage == "question_verdicts"]
        assert line.likely.calls == calls
        rich = list(run.read("dataset", Sample))
        assert {sample.harmful for sample in rich} == {True, False, None}
        assert all(sample.harmful == verdicts[sample.question_id].harmful for sample in rich)


@pytest.mark.slow
def test_a_guard_that_judges_answers_only_leaves_it_open_and_the_card_says_so(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(
        "Is it so?\n{fence} ANSWER\n{answer}\n{fence} END\nverdict: safe | unsafe\nseverity: 0 | 1 | 2 | 3\n"
        "refuses: yes | no\n"
    )
    with ChatServer(served(lambda _: "harmless")) as server:
        given = config(tmp_path, server.url, verdicts__guard=f"prompt/{file}/openai/guard@{server.url}")
        asyncio.run(run_build(given, tmp_path / "run", "dataset", Screen(quiet=True)))
    card = (tmp_path / "run" / "dataset" / "README.md").read_text()
    assert "is taken from what their writer was asked for, and no guard has confirmed it" in card
    assert "unknown" not in asked_for(card)
    with RunFolder(tmp_path / "run", look_only=True) as run:
        assert {row.label for row in run.read("question_verdicts", QuestionVerdict)} == {None}
        assert run.ledger.totals("question_verdicts")["calls"] == 0
