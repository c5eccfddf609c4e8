"""Keys and passwords: a server sends back what it was sent, and nothing of it is in what a run leaves behind."""

import asyncio
import base64
import contextlib
import html
import json
import random
import sqlite3
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from spavl.errors import ConfigError, ProviderError, SpavlError
from spavl.models.backends.openai import OpenAIModel
from spavl.models.types import RequestRejected, Transient, ask_about
from spavl.publishing.held_keys import _SHAPES
from spavl.text.safe_print import line
from spavl.text.secrets import body_without_keys
from tests.cli.test_cli import assert_told
from tests.pipeline.test_hostile import OPEN_GATES, Said, build, honest, impatient
from tests.pipeline.test_pipeline import Walked, copied, walked
from tests.publishing.test_push import start
from tests.support.command_line import spavl_here
from tests.support.hub import FakeHub
from tests.support.servers import Body, ChatServer, body_hash, fault

__all__ = ["copied", "impatient", "walked"]

# Made up. With signs that URLs and JSON spell otherwise.
KEY = 'mk/7Qe+Zr"41xWp&9Lt=Vb_Made-Up'
PASSWORD = "made-up-Passw0rd"


def _spelled(key: str) -> dict[str, str]:
    data = key.encode()
    return {
        "plain": key,
        "in a URL": urllib.parse.quote(key, safe=""),
        "in a form": urllib.parse.quote_plus(key),
        "in JSON": json.dumps(key)[1:-1],
        "in HTML": html.escape(key),
        "in hexadecimal digits": data.hex(),
        "base64": base64.b64encode(data).decode().rstrip("="),
        "base64 of the header": base64.b64encode(b"Bearer " + data).decode(),
        "base64 of basic": base64.b64encode(b"user:" + data + b":more").decode(),
        "base64 for URLs": base64.urlsafe_b64encode(data).decode().rstrip("="),
    }


def _needles(key: str) -> set[bytes]:
    """What must be nowhere: every spelling, of base64 the middle, whose digits depend on the key alone."""
    cut = {name: each[12:-8] if "base64" in name else each for name, each in _spelled(key).items()}
    return {each.encode() for each in cut.values()}


def _bytes_in(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every byte of every file, and what the packed ones hold."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield file, file.read_bytes()
        if file.suffix == ".parquet":
            yield file, repr(pq.read_table(file).to_pylist()).encode()
            yield file, "\0".join(_texts(pq.read_table(file).to_pylist())).encode(errors="replace")
        if file.suffix == ".sqlite":
            with sqlite3.connect(file) as database:
                yield file, "\n".join(database.iterdump()).encode(errors="replace")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for each in value.values() for text in _texts(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in _texts(each))


def echoing(body: Body) -> str | web.Response:
    """The key in every spelling, in answers and refusals, and in letters by number."""
    rng = random.Random(f"7/{body_hash(body)}")
    said = rng.choice(sorted(_spelled(KEY).values()))
    if body["model"] == "judge":
        return fault(400, f"no, Bearer {said}") if rng.random() < 0.02 else honest(body)
    match rng.randrange(4):
        case 0:
            return fault(400, f"Authorization: Bearer {said} is not allowed here")
        case 1:
            numbers = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
            text = f'{{"choices": [{{"finish_reason": "stop", "message": {{"content": "I saw {numbers}."}}}}]}}'
            return web.Response(text=text, content_type="application/json")
        case _:
            return f"what is shown here, {rng.random():.6f}, beside {said}?"


def test_no_byte_of_a_run_holds_the_key_that_a_server_sent_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", KEY)
    screen = Said()
    with ChatServer(echoing) as server:
        build(tmp_path, server.url, screen, **OPEN_GATES)
        assert server.authorizations == {f"Bearer {KEY}"}
    needles, walked_through, withheld = _needles(KEY), 0, 0
    for file, data in _bytes_in(tmp_path / "run"):
        assert not [needle for needle in needles if needle in data], file
        walked_through += len(data)
        withheld += data.count(b"[key withheld]")
    assert walked_through > 1e5 and withheld > 100
    told = "\n".join([*screen.lines, *capfd.readouterr()]).encode()
    assert not [needle for needle in needles if needle in told]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_no_error_holds_the_key(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", KEY)

    async def asked(url: str) -> str:
        model = OpenAIModel("m", url)
        try:
            await model.ask(ask_about(None, "What is this?"))
        except (SpavlError, Transient, RequestRejected) as error:
            return str(error)
        finally:
            await model.close()
        raise AssertionError

    for spelling in _spelled(KEY).values():
        with ChatServer(lambda _, said=spelling: fault(status, f"you sent Bearer {said}")) as server:  # type: ignore[misc]
            told = asyncio.run(asked(server.url))
        assert "withheld" in told and not [each for each in _needles(KEY) if each in told.encode()], told


_HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        _HEAD + b"X-Error: " + b"%s" * 1000 + b"\r\n\r\n",
        b"HTTP/1.1 " + b"%s" * 1000 + b"\r\n\r\n",
        _HEAD + b"%s" * 1000 + b"\r\n\r\n",
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"%s" * 1000 + b"\r\n",
        _HEAD + b"Content-Encoding: %s\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["a header", "the status", "no header", "a chunk", "an encoding"],
)
def test_what_is_no_http_is_told_without_a_piece_of_the_key(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    key = "sk-madeup-0123456789abcdefXYZ"
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", key)
    sent = sent.replace(b"%s", f"Bearer {key}".encode())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read(2**16)
        writer.write(_HEAD + b'Content-Length: 11\r\n\r\n{"data":[]}' if asked.startswith(b"GET") else sent)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def asked() -> str:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        model = OpenAIModel("m", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        try:
            with pytest.raises(Transient) as caught:
                await model.ask(ask_about(None, "What is this?"))
        finally:
            await model.close()
            server.close()
        return str(caught.value)

    assert "madeup" not in asyncio.run(asked())


def test_a_key_is_found_wherever_it_stands_in_base64() -> None:
    for before in range(9):
        encoded = base64.b64encode(bytes(range(before)) + KEY.encode() + bytes(range(before)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY)
            assert b"withheld" in body_without_keys(b"x " + encoded + b" y")


def test_words_that_are_no_key_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAVL_API_KEY_LOCALHOST", "EMPTY")
    body = b'{"choices": [{"message": {"content": "an EMPTY \\u0041 room"}}]}'
    assert body_without_keys(body) == body


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "openai/x@http://user:{}@127.0.0.1:1/v1", "--suite", "pope", "--data", "."),
        ("eval", "openai/x@http://127.0.0.1:1/v1", "--suite", "pope", "--guard", "openai/x@http://{}@127.0.0.1:1/v1"),
        ("build", "my.toml", "--verdicts.guard", "openai/x@http://user:{}@127.0.0.1:1/v1"),
        ("build", "pool.toml", "--dry-run"),
    ],
)
def test_a_password_in_an_address_is_refused_and_stands_nowhere(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "my.toml").write_text("selection.per_leaf = 4\n")
    member = f'name = "one"\nmodel = "openai/x@http://user:{PASSWORD}@127.0.0.1:1/v1"\nfamily = "x"\n'
    (tmp_path / "own.toml").write_text(f'name = "p"\nversion = 1\n[[responder]]\n{member}')
    (tmp_path / "pool.toml").write_text('responses.pool = "own.toml"\n')
    before = {file.name for file in tmp_path.iterdir()}
    done = spavl_here(tmp_path, *(word.format(PASSWORD) for word in words))
    assert_told(done, "user's name or password", "SPAVL_API_KEY_")
    assert PASSWORD not in done.stdout + done.stderr
    for file in (path for path in tmp_path.rglob("*") if path.is_file() and path.name not in before):
        assert PASSWORD.encode() not in file.read_bytes(), file


def test_an_address_with_a_query_is_refused_without_telling_it() -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIModel("m", f"http://127.0.0.1:1/v1?api_key={PASSWORD}")
    assert PASSWORD not in str(caught.value)


def test_a_line_for_a_terminal_holds_no_key_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_made_up_token")
    assert line("hf_made_up_token at http://me:secret@host/x") == "[key withheld] at http://host/x"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"my key is {KEY}", "a key of this machine stands"),
        ("my key is sk-" + "a1B2" * 8, "what looks like a key stands"),
        ("see https://me:made-up@host.example/x", "what looks like a key stands"),
    ],
)
def test_a_push_refuses_a_data_set_with_a_key_in_it(
    copied: Walked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, what: str
) -> None:
    monkeypatch.setenv("SOME_SERVICE_API_KEY", KEY)
    file = next((copied.run / "dataset").rglob("train-*.parquet"))
    table = pq.read_table(file)
    place = table.schema.get_field_index("chosen")
    column = table.column("chosen").to_pylist()
    pq.write_table(table.set_column(place, "chosen", [[*column[:-1], text]]), file, compression="zstd")
    with FakeHub() as hub:
        process = start(hub, tmp_path, "push", str(copied.run), "someone/set")
        code, err = process.wait(60), process.stderr
        assert code == 2 and what in err and file.name in err and "column chosen" in err
        assert not hub.files and not hub.uploads and text not in err
        process = start(hub, tmp_path, "push", str(copied.run), "someone/set", "--allow-key-shapes")
        process.wait(60)
        # What this machine holds is let out by no option.
        assert bool(hub.files) == (KEY not in text)


# Their forms as published detectors of secrets have them.
FORMS = {
    "JSON web token": "eyJ" + "hbGci" * 4 + ".eyJ" + "zdWIi" * 5 + "." + "c2ln" * 8,
    "NVIDIA": "nvapi-" + "aB3_-x4Z" * 8,
    "Replicate": "r8_" + "aB3_-" * 7 + "xy",
    "xAI": "xai-" + "aB3_x" * 16,
    "AWS": "AKIA" + "B3XZ" * 4,
}


@pytest.mark.parametrize("key", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("around", ["%s", 'key = "%s"', "Authorization: Bearer %s\n"])
def test_a_key_is_known_by_its_form(key: str, around: str) -> None:
    assert _SHAPES.search((around % key).encode())


@pytest.mark.parametrize("text", ["eyJ is how they begin.", "r8_d2_and_c3po", "xai-explained", "nvapi-docs", "AKIAS"])
def test_a_word_is_no_key(text: str) -> None:
    assert not _SHAPES.search(text.encode())


def test_a_key_that_ends_in_a_new_line_is_sent_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", "made-up-key\n")

    async def asked(url: str) -> None:
        model = OpenAIModel("m", url)
        try:
            await model.ask(ask_about(None, "What is this?"))
        finally:
            await model.close()

    with ChatServer() as server:
        asyncio.run(asked(server.url))
        assert server.authorizations == {"Bearer made-up-key"}


def test_a_server_that_answers_with_the_key_at_once_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPAVL_API_KEY_127_0_0_1", KEY)

    async def asked(url: str) -> None:
        model = OpenAIModel("m", url)
        try:
            await model.ask(ask_about(None, "What is this?"))
        finally:
            await model.close()

    with (
        ChatServer(models=lambda: fault(401, f"no such key: {KEY}")) as server,
        pytest.raises(ProviderError, match="withheld") as caught,
    ):
        asyncio.run(asked(server.url))
    assert KEY not in str(caught.value)
