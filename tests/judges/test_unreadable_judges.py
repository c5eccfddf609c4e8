"""Judges that judge well in a form of their own: what can be read safely is read, and of the rest the form is told."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from spavl.judges.canaries.checks import (
    CanaryResult,
    ask_canaries,
    canaries_of_guard,
    canaries_of_judge,
    canaries_of_refusals,
    failures_told,
)
from spavl.judges.chat import ChatJudge
from spavl.judges.refusal_judge import ChatRefusalJudge
from spavl.judges.registry import open_guard
from spavl.models.types import Reply, Request
from tests.judges.test_canaries import evaluated, never_refuses, reads_well
from tests.support.evaluations import SAFE, write_spa_vl
from tests.support.servers import Answer, Body, ChatServer, fault

WEIGHTS = "the weights and the chat template"


def in_json(form: str) -> str:
    return json.dumps(dict(line.split(": ") for line in form.splitlines()))


STYLES: dict[str, Callable[[str], str]] = {
    "JSON": in_json,
    "fenced JSON": lambda form: f"```json\n{in_json(form)}\n```",
    "a thought behind it": lambda form: f"{form}\n<reasoning>I read it word by word.</reasoning>",
}
# What is not read: other words stand beside the form, or its lines are not lines.
UNREAD: dict[str, Callable[[str], str]] = {
    "numbered": lambda form: "\n".join(f"{place}. {line}" for place, line in enumerate(form.splitlines(), 1)),
    "on one line": lambda form: ", ".join(form.splitlines()),
    "with a preface": lambda form: f"Sure, I can judge this.\n{form}",
}


def answering(style: Callable[[str], str], judge: Answer = reads_well) -> Answer:
    return lambda body: "I see a street." if body["model"] == "one" else style(judge(body))


@pytest.mark.parametrize("style", STYLES)
def test_a_sound_judge_may_fill_in_the_form_so(tmp_path: Path, style: str) -> None:
    data = str(write_spa_vl(tmp_path / "data", 3, 3))
    with ChatServer(answering(STYLES[style])) as server:
        judged = ("--judge", f"openai/judge@{server.url}")
        assert evaluated(tmp_path, server, *judged, suite="harmeval,helpeval", data=data) == 0


@pytest.mark.parametrize("style", UNREAD)
def test_where_nothing_could_be_read_the_form_is_told_and_not_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], style: str
) -> None:
    with ChatServer(answering(UNREAD[style])) as server:
        assert evaluated(tmp_path, server) == 2
    told = capsys.readouterr().err
    shown = repr(UNREAD[style]("verdict: safe\nseverity: 0\nrefuses: yes"))
    assert f"none of these replies could be parsed; their format is wrong, as in {shown}" in told
    assert "next:  check the format of its replies" in told and WEIGHTS not in told and "--canaries warn" in told


@pytest.mark.parametrize(
    "guard",
    [
        lambda body: SAFE,
        lambda body: fault(400, "no such template"),
        lambda body: UNREAD["numbered"](SAFE) if "Ruritanians" in str(body) else SAFE,
    ],
    ids=["wrong", "refused by the server", "wrong and unread"],
)
def test_where_anything_else_is_wrong_the_weights_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], guard: Answer
) -> None:
    with ChatServer(lambda body: "I see a street." if body["model"] == "one" else guard(body)) as server:
        assert evaluated(tmp_path, server) == 2
    told = capsys.readouterr().err
    assert WEIGHTS in told and "the format of its replies" not in told


class Model:
    """One that fills every form in as a good judge does, in a style of its own."""

    name = "judge"

    def __init__(self, style: Callable[[str], str], judge: Callable[[Body], str] = reads_well) -> None:
        self._style, self._judge = style, judge

    async def ask(self, request: Request) -> Reply:
        text = " ".join(message.text for message in request.messages if message.text)
        return Reply(self._style(self._judge({"messages": [{"content": text}]})), "stop")

    def open(self, uri: str, stage: str) -> "Model":
        return self


def words_of(model: Model, kind: str) -> list[CanaryResult]:
    canaries = canaries_of_judge(ChatJudge(model)) if kind == "pairs" else canaries_of_refusals(ChatRefusalJudge(model))
    return asyncio.run(ask_canaries(canaries))


@pytest.mark.parametrize("kind", ["pairs", "refusals"])
def test_every_kind_of_judge_shows_what_could_not_be_read(kind: str) -> None:
    words = words_of(Model(lambda form: f"Sure.\n{form}"), kind)
    (told,) = failures_told(words)
    assert "their format is wrong, as in 'Sure.\\n" in told
    assert all(word.unread and word.raw.startswith("Sure.\n") for word in words if not word.passed)
    assert not any(word.unread or not word.passed for word in words_of(Model(str), kind))


def test_a_judge_that_was_read_and_is_wrong_is_not_told_to_see_to_its_form() -> None:
    words = words_of(Model(str, never_refuses), "refusals")
    (told,) = failures_told(words)
    assert "full_compliance" in told and "form" not in told


def test_a_published_guard_shows_what_could_not_be_read() -> None:
    guard = open_guard("llama-guard-3/openai/guard@http://127.0.0.1:1", Model(lambda _: "It is safe, I think."), "test")
    (told,) = failures_told(asyncio.run(ask_canaries(canaries_of_guard(guard))))
    assert "their format is wrong, as in 'It is safe, I think.'" in told
