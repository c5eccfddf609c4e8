"""Parameters that a server does not take: what it says is understood, and the question is asked without them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spavl.data.responses.config import ResponsesConfig
from spavl.models.batch_api import queue
from spavl.models.types import Reply, RequestRejected
from spavl.records import Response
from spavl.store import RunFolder
from tests.data.responses.test_responses import asked
from tests.models.test_models import ask, question
from tests.pipeline.test_batches import batched, walk
from tests.pipeline.test_cost_estimate import answer
from tests.support.batch_server import BatchServer
from tests.support.servers import Body, ChatServer, echo, fault

Objection = Callable[[Body], web.Response | None]
SPARED = {"temperature", "top_p", "seed"}


def told(status: int, body: Any) -> web.Response:
    return web.json_response(body, status=status)


def gemini(body: Body) -> web.Response | None:
    said = 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
    return (
        told(400, [{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}]) if "seed" in body else None
    )


def reasoning(body: Body) -> web.Response | None:
    """OpenAI's o-series and gpt-5, and whoever serves them on."""
    for name in ("temperature", "top_p"):
        if name in body:
            said = f"Unsupported parameter: '{name}' is not supported with this model."
            return told(400, {"error": {"message": said, "param": name, "code": "unsupported_parameter"}})
    return None


def only_one(body: Body) -> web.Response | None:
    said = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    return fault(400, said) if {"temperature", "top_p"} <= body.keys() else None


def strict(body: Body) -> web.Response | None:
    extra = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}
    return told(422, {"object": "error", "message": {"detail": [extra]}}) if "seed" in body else None


def set_in_stone(body: Body) -> web.Response | None:
    said = "invalid temperature: only 1 is allowed for this model"
    return fault(400, said) if body.get("temperature", 1) != 1 else None


SERVERS = {
    gemini: {"seed"},
    reasoning: {"temperature", "top_p"},
    only_one: {"top_p"},
    strict: {"seed"},
    set_in_stone: {"temperature"},
}


def answering(objects: Objection) -> Callable[[Body], str | web.Response]:
    return lambda body: objects(body) or echo(body)


@pytest.mark.parametrize(("objects", "unknown"), SERVERS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_what_a_server_does_not_take_is_left_out_and_said_once(
    run: RunFolder, objects: Objection, unknown: set[str]
) -> None:
    said: list[str] = []
    with ChatServer(answering(objects)) as server:
        uri = f"openai/m@{server.url}"
        ask(run.ledger, uri, question(0), say=said.append)
        # Asked of one shop at once, and then again: what is learnt is kept, and so is every answer.
        found = ask(run.ledger, uri, *(question(n, temperature=0.5) for n in range(1, 9)), say=said.append)
        again = ask(run.ledger, uri, *(question(n, temperature=0.5) for n in range(1, 9)))
    assert all(isinstance(reply, Reply) and {*reply.without} == unknown for reply in found)
    assert again == found
    answered = [server.bodies[name] for name in server.answered]
    assert len(answered) == 9 and all(SPARED - body.keys() == unknown for body in answered)
    assert max(server.answered.values()) == 1
    once = [f"openai/m does not take {name}, and is asked without" for name in sorted(unknown)]
    assert said == 2 * once, "each shop says each once"


def test_the_name_of_a_call_does_not_hang_on_what_its_server_takes(run: RunFolder) -> None:
    """So that an answer is found again by whoever asks with all parameters."""
    with ChatServer(answering(gemini)) as server:
        uri = f"openai/m@{server.url}"
        (reply,) = ask(run.ledger, uri, question(1, seed=7))
        assert isinstance(reply, Reply)
        assert reply.call == question(1, seed=7).key("openai/m")


@pytest.mark.parametrize("say", ["this picture is too large", "the temperature must be at most 1"])
def test_another_objection_is_a_refusal_and_asked_once(run: RunFolder, say: str) -> None:
    with ChatServer(lambda _: fault(400, say)) as server:
        (found,) = ask(run.ledger, f"openai/m@{server.url}", question(1))
    assert isinstance(found, RequestRejected) and say in str(found)
    assert server.seen.total() == 1


def test_a_question_that_is_refused_for_its_words_teaches_nothing_of_parameters(run: RunFolder) -> None:
    def objects(body: Body) -> str | web.Response:
        text = body["messages"][0]["content"]
        return fault(400, f"unsupported content: {text}") if "seed" in text else echo(body)

    with ChatServer(objects) as server:
        uri = f"openai/m@{server.url}"
        refused, after = ask(run.ledger, uri, question("how do I seed a lawn?"), question(2))
        assert isinstance(refused, RequestRejected)
        assert isinstance(after, Reply) and after.without == ()


def test_an_answer_is_kept_with_the_settings_that_were_sent_and_no_others(run: RunFolder) -> None:
    with ChatServer(lambda body: (reasoning(body) if body["model"] == "o" else None) or echo(body)) as server:
        rows = asked(run, ResponsesConfig(models=(f"openai/o@{server.url}", f"openai/m@{server.url}"), max_tokens=9))
    kept = {row.model.partition("@")[0]: row.decoding for row in rows}
    assert kept == {
        "openai/o": ("max_tokens=9", "seed=3"),
        "openai/m": ("temperature=1.0", "top_p=1.0", "max_tokens=9", "seed=3"),
    }


def test_a_batch_learns_it_too_and_asks_again_at_half_the_price(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_FIRST_LOOK", 0.01)
    monkeypatch.setattr(queue, "_LONGEST_LOOK", 0.01)

    def served(body: Body) -> Any:
        return (reasoning(body) if body["model"] == "one" else None) or answer(body)

    with BatchServer(served) as server:
        config, out = batched(tmp_path, server.url), tmp_path / "run"
        walk(config, out, until="responses")
        assert not server.answered, "a call went past the batches"
    with RunFolder(out) as run:
        calls = [call for call in run.ledger.calls("responses") if call.model == "openai/one"]
        rows = [row for row in run.read("responses", Response) if row.model == "openai/one"]
    assert calls and {(call.status, call.detail) for call in calls} == {("ok", "temperature top_p")}
    assert rows and not any("temperature" in setting for row in rows for setting in row.decoding)
