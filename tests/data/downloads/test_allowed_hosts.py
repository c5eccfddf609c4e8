"""Hosts that are not public: asked where a setting names them, and nowhere else; and a proxy, where one is named."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from spavl.data.downloads import fetch as fetching
from spavl.data.downloads.address_guard import AddressGuard, is_public
from spavl.data.downloads.config import FetchConfig
from spavl.data.downloads.fetch import open_fetch
from spavl.errors import ConfigError
from tests.data.downloads.test_downloads import Names, outcome, png, served


def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, **settings: Any) -> tuple[str, list[str]]:
    heard: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        heard.append(request.headers["Host"])
        return web.Response(body=png(), content_type="image/png")

    async def work(port: int) -> str:
        monkeypatch.setattr(fetching, "GUARD", AddressGuard(is_public, lambda: Names({})))
        named = {name: str(value).format(port=port) for name, value in settings.items() if name == "proxy"}
        allow = tuple(each.format(port=port) for each in settings.get("allow", ()))
        config = FetchConfig(timeout=20, tries=1, min_delay=0, allow=allow, **named)
        async with open_fetch(config, tmp_path / "downloads", 8) as fetch:
            return await outcome(fetch, url.format(port=port))

    told: str = asyncio.run(served({"/{any:.*}": answer}, work))
    return told, heard


INSIDE = "http://images.test:{port}/a.png"


@pytest.mark.parametrize(
    ("url", "allow", "told"),
    [
        (INSIDE, (), "refused_address"),
        (INSIDE, ("images.test:{port}",), "ok"),
        (INSIDE, ("images.test",), "refused_address"),
        ("http://bücher.test:{port}/a.png", ("bücher.test:{port}",), "ok"),
        ("http://xn--bcher-kva.test:{port}/a.png", ("BÜCHER.test:{port}",), "ok"),
        ("http://bücher.test:{port}/a.png", ("xn--bcher-kva.test:{port}",), "ok"),
        ("http://bücher.test:{port}/a.png", ("bucher.test:{port}",), "refused_address"),
        (INSIDE, ("Images.Test:{port}",), "ok"),
        (INSIDE, ("other.test:{port}",), "refused_address"),
        (INSIDE, ("127.0.0.0/8:{port}",), "ok"),
        ("http://127.0.0.1:{port}/a.png", ("127.0.0.1:{port}",), "ok"),
        ("http://127.0.0.1:{port}/a.png", ("images.test:{port}",), "refused_address"),
    ],
)
def test_a_host_that_is_not_public_is_asked_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, allow: tuple[str, ...], told: str
) -> None:
    assert asked(tmp_path, monkeypatch, url, allow=allow)[0] == told


def test_a_proxy_is_asked_where_it_is_named_and_leads_to_no_address_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    told, heard = asked(tmp_path, monkeypatch, "http://images.test/a.png", proxy="http://127.0.0.1:{port}")
    assert (told, heard) == ("ok", ["images.test"])
    hosts = "169.254.169.254", "localhost", "LOCALHOST.", "a.localhost", "[::1]", "images.test:22"
    for host in (*hosts, "0x7f.1", "0x7f000001", "127.1", "2130706433", "0251.254.169.254", "10.0.0.1."):
        refused = asked(tmp_path, monkeypatch, f"http://{host}/a", proxy="http://127.0.0.1:{port}")
        assert refused == ("refused_address", []), host


@pytest.mark.parametrize("allow", ["http://x/y", "host:port", "host:0", "a b", "", "bücher" * 12])
def test_what_is_no_place_is_refused(allow: str) -> None:
    with pytest.raises(ValidationError):
        FetchConfig(allow=(allow,))


@pytest.mark.parametrize("allow", ["*.corp", "*", "*.corp:8080"])
def test_a_star_is_refused_with_words(allow: str) -> None:
    """It was taken, and stood for nothing."""
    with pytest.raises(ValidationError, match="each is named in full"):
        FetchConfig(allow=(allow,))


def test_a_host_of_other_letters_is_known_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, proxy = "http://bücher.test:8080/a.png", "http://127.0.0.1:{port}"
    assert asked(tmp_path, monkeypatch, url, proxy=proxy)[0] == "refused_address"
    assert asked(tmp_path, monkeypatch, url, proxy=proxy, allow=("bücher.test:8080",))[0] == "ok"


def test_a_proxy_with_a_password_is_refused() -> None:
    with pytest.raises(ConfigError):
        FetchConfig(proxy="http://me:made-up@host:80")
    with pytest.raises(ValidationError):
        FetchConfig(proxy="socks5://host:80")
