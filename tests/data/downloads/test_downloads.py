"""Downloads from servers that are gone, slow or hostile: each failure has a name, and nothing private is reached."""

import asyncio
import contextlib
import dataclasses
import gzip
import io
import ipaddress
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from spavl.data.downloads import fetch as fetching
from spavl.data.downloads.address_guard import AddressGuard, is_public
from spavl.data.downloads.config import SPEC, FetchConfig
from spavl.data.downloads.downloader import _fetchable_url
from spavl.data.downloads.fetch import open_fetch
from spavl.data.downloads.host_throttle import HostThrottle
from spavl.errors import GateError
from spavl.imaging.decode import LARGEST_BYTES
from spavl.imaging.unfetchable import Unfetchable
from spavl.pipeline.build import run_build
from spavl.pipeline.registry import BuildConfig
from spavl.pipeline.settings import read_config
from spavl.records import Image, Reject
from spavl.store import RunFolder
from spavl.terminal.progress import Screen
from tests.support.images import encoded, photo
from tests.support.taxonomies import ONE_LEAF

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
QUICK = FetchConfig(timeout=2, tries=1, min_delay=0)


def png() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


class Names(AbstractResolver):
    """A name server of the test: any name is this machine, but for those it knows better."""

    def __init__(self, known: dict[str, list[str]]) -> None:
        self.known, self.asked = known, Counter[str]()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked[host] += 1
        if host == "gone.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        if host == "busy.test":
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        places = self.known.get(host, ["127.0.0.1"])
        # A name that changes: one address at the first question, others at the next.
        found = [places.pop(0)] if host.startswith("changing") and len(places) > 1 else places
        return [ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0) for each in found]

    async def close(self) -> None: ...


async def served(handlers: dict[str, Handler], work: Callable[[int], Awaitable[Any]]) -> Any:
    """Do some work beside a server on loopback."""
    app = web.Application()
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        return await work(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def allowing(port: int, names: Names) -> AddressGuard:
    """A guard to which the test's server, and nothing else, is public."""
    return AddressGuard(lambda address, asked: (address, asked) == ("127.0.0.1", port), lambda: names)


async def outcome(fetch: fetching.Fetch, url: str) -> str:
    try:
        return "ok" if await fetch(url) == png() else "other bytes"
    except Unfetchable as error:
        return f"{error}{' (may pass)' if error.passing else ''}"


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """What comes of URLs, asked in turn; {port} stands for the server's."""

    def asked(handlers: dict[str, Handler], *urls: str, settings: FetchConfig = QUICK, **known: Any) -> list[str]:
        async def work(port: int) -> list[str]:
            names = known.get("names") or Names({})
            monkeypatch.setattr(fetching, "GUARD", allowing(port, names))
            async with open_fetch(settings, tmp_path / "downloads", 8) as fetch:
                return [await outcome(fetch, url.format(port=port)) for url in urls]

        found: list[str] = asyncio.run(served(handlers, work))
        return found

    yield asked


def answering(body: bytes = b"", status: int = 200, **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in {"Content_Type": "image/png", **headers}.items()}

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=named)

    return handler


def sending_to(place: str) -> Handler:
    return answering(status=302, Location=place)


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    await response.prepare(request)
    for _ in range(LARGEST_BYTES // 2**20 + 2):
        await response.write(bytes(2**20))
    return response


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png"})
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"x")
        await asyncio.sleep(0.1)
    return response


async def breaking_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "image/png", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"x" * 10)
    assert request.transport
    request.transport.close()
    return response


BOMB = gzip.compress(bytes(2**24))
ANSWERS = {
    "an image": (answering(png()), "ok"),
    "an image without a type": (answering(png(), Content_Type="application/octet-stream"), "ok"),
    "gone": (answering(status=404), "http_404"),
    "overloaded": (answering(status=503), "http_503 (may pass)"),
    "asked too much": (answering(status=429, Retry_After="0"), "http_429 (may pass)"),
    "a page": (answering(b"<html>", Content_Type="text/html"), "not_an_image"),
    "not for models": (answering(png(), X_Robots_Tag="noindex, noai"), "noai"),
    "not for one robot's models": (answering(png(), X_Robots_Tag="somebot: noimageai"), "noai"),
    "a bomb": (answering(BOMB, Content_Encoding="gzip"), "packed"),
    "an endless body": (endless, "too_many_bytes"),
    "a slow drip": (dripping, "timeout (may pass)"),
    "half a body": (breaking_off, "broken_off (may pass)"),
    "round and round": (sending_to("/it"), "too_many_redirects"),
    "to a file": (sending_to("file:///etc/hostname"), "refused_scheme"),
    "to this machine": (sending_to("http://127.0.0.1:9/"), "refused_address"),
    "to this machine, IPv6": (sending_to("http://[::1]:9/"), "refused_address"),
    "to this machine, IPv4 in IPv6": (sending_to("http://[::ffff:127.0.0.1]:9/"), "refused_address"),
    "to this machine as a number": (sending_to("http://2130706433:9/"), "bad_url"),
    "to a cloud's own service": (sending_to("http://169.254.169.254/latest/meta-data"), "refused_address"),
    "to a name in the network": (sending_to("http://inner.test/"), "refused_address"),
    "to a port of its own": (sending_to("http://images.test:22/"), "refused_address"),
    "to a password": (sending_to("http://a:b@images.test/"), "bad_url"),
    "to no URL": (sending_to("http://[::1/"), "bad_url"),
    "to a name of no script": (sending_to("http://xn--a.test/a"), "bad_url"),
}


@pytest.mark.parametrize(("handler", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_every_answer_is_an_image_or_has_its_reason(
    ask: Callable[..., list[str]], handler: Handler, expected: str
) -> None:
    names = Names({"inner.test": ["10.0.0.7"]})
    began = time.monotonic()
    assert ask({"/it": handler}, "http://images.test:{port}/it", names=names) == [expected]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9/", "refused_address"),
        ("http://[::1]/", "refused_address"),
        ("http://two.test:{port}/it", "refused_address"),
        ("http://gone.test:{port}/it", "dns"),
        ("http://busy.test:{port}/it", "dns (may pass)"),
        ("ftp://images.test/it", "refused_scheme"),
        ("http:///it", "bad_url"),
        ("http://xn--a.test/a", "bad_url"),
        ("https://images.test:{port}/it", "tls"),
        ("gopher", "refused_scheme"),
    ],
)
def test_a_url_that_leads_astray_is_refused(ask: Callable[..., list[str]], url: str, expected: str) -> None:
    names = Names({"two.test": ["127.0.0.1", "192.168.0.1"]})
    assert ask({"/it": answering(png())}, url, names=names) == [expected]


_HOSTS = st.text(st.sampled_from("xn--a\u00fc.\u2024\u00df\ud800[]:@%/\\ 1é中\u200d"), max_size=12)


@given(st.one_of(_HOSTS, st.text()), st.text(max_size=6))
def test_no_url_is_any_other_fault(host: str, path: str) -> None:
    with contextlib.suppress(Unfetchable):
        assert _fetchable_url(f"http://{host}/{path}").host


def test_a_name_that_changes_between_check_and_connect_changes_nothing(ask: Callable[..., list[str]]) -> None:
    """It is looked up once for each connection, and the address that was checked is the one connected to."""
    names = Names({"changing.test": ["127.0.0.1", "10.0.0.1"]})
    urls = ["http://changing.test:{port}/it", "http://changing.test:{port}/it?again"]
    assert ask({"/it": answering(png())}, *urls, names=names) == ["ok", "refused_address"]
    assert names.asked["changing.test"] == 2


def test_nothing_final_is_asked_twice_and_what_may_pass_is(ask: Callable[..., list[str]]) -> None:
    asked: Counter[str] = Counter()

    def counted(name: str, handler: Handler) -> Handler:
        async def count(request: web.Request) -> web.StreamResponse:
            asked[name] += 1
            return await handler(request)

        return count

    handlers = {
        "/good": counted("good", answering(png())),
        "/gone": counted("gone", answering(status=404)),
        "/busy": counted("busy", answering(status=503, Retry_After="0")),
    }
    # The port is part of a URL, and another one at each start: so the names stand for one server.
    urls = [f"http://images.test:{{port}}/{name}" for name in ("good", "gone", "busy")]
    first = ask(handlers, *urls, *urls)
    assert first == ["ok", "http_404", "http_503 (may pass)"] * 2
    assert asked == {"good": 1, "gone": 1, "busy": 2}


def test_what_fails_in_passing_is_tried_again(ask: Callable[..., list[str]]) -> None:
    left = [503, 200]

    async def ill(_: web.Request) -> web.Response:
        return web.Response(body=png(), status=left.pop(0), content_type="image/png")

    settings = FetchConfig(timeout=2, tries=2, min_delay=0)
    assert ask({"/it": ill}, "http://images.test:{port}/it", settings=settings) == ["ok"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_is_left_alone_for_as_long_as_it_asks_by_number_or_date(
    ask: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    paused: list[float] = []
    monkeypatch.setattr(HostThrottle, "pause", lambda hosts, name, seconds: paused.append(seconds))
    dates = [format_datetime(datetime.now(UTC) + timedelta(seconds=late), usegmt=True) for late in (30, -30)]
    for said in ("7", *dates, "soon", "inf", "-3"):
        answer = answering(status=status, Retry_After=said)
        assert ask({"/it": answer}, "http://images.test:{port}/it") == [f"http_{status} (may pass)"]
    assert [round(seconds) for seconds in paused] == [7, pytest.approx(30, abs=3), 0, 1, 1, 0]


def test_a_list_of_urls_becomes_images_and_only_what_may_pass_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead URLs are normal. Where most fail in passing the stage stops; where few do, those alone are asked at the end,
    and again with more tries.
    """
    asked, well = Counter[str](), set[str]()

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        asked[name] += 1
        if name.startswith("gone"):
            return web.Response(status=404)
        is_well = name in well or (well and (name, asked[name]) == ("ill-3", 2))
        if name.startswith("ill") and not is_well:
            return web.Response(status=503, headers={"Retry-After": "0"})
        return web.Response(body=encoded(photo(sum(name.encode())), "PNG"), content_type="image/png")

    def config(port: int, tries: int) -> BuildConfig:
        names = ("good", "gone 1", "gone 2", "ill 1", "ill 2", "ill 3", "ill 4")
        lines = [f"http://images.test:{port}/{name.replace(' ', '-')},a photograph" for name in names]
        (tmp_path / "taxonomy.toml").write_text(ONE_LEAF)
        (tmp_path / "list.csv").write_text("\n".join(["URL,TEXT", *lines]))
        table = {
            "taxonomy": {"file": str(tmp_path / "taxonomy.toml")},
            "sourcing": {"source": str(tmp_path / "list.csv")},
            "downloads": {"fetch": {"tries": tries, "min_delay": 0}},
        }
        return read_config(table, {}, "a test")

    async def story(port: int) -> None:
        monkeypatch.setattr(fetching, "GUARD", allowing(port, Names({})))
        monkeypatch.setattr("spavl.data.downloads.downloader._FIRST_WAIT", 0.0)
        monkeypatch.setattr("spavl.data.downloads.run.SPEC", dataclasses.replace(SPEC, seconds_before_retry=0.01))
        with pytest.raises(GateError, match="4 of 7"):
            await run_build(config(port, 1), tmp_path / "run", "selection", Screen())
        well.update(("ill-1", "ill-2"))
        asked.clear()
        await run_build(config(port, 1), tmp_path / "run", "selection", Screen())
        assert asked == {"ill-1": 1, "ill-2": 1, "ill-3": 2, "ill-4": 2}
        asked.clear()
        await run_build(config(port, 1), tmp_path / "run", "selection", Screen())
        assert not asked
        await run_build(config(port, 2), tmp_path / "run", "selection", Screen())
        assert asked == {"ill-4": 4}

    asyncio.run(served({"/{name}": answer}, story))
    with RunFolder(tmp_path / "run") as run:
        reasons = Counter(row.reason for row in run.read("downloads", Reject))
        assert reasons == {"http_404": 2, "http_503": 1}
        assert len(list(run.read("selection", Image))) == 4


def test_a_host_is_asked_by_few_at_a_time_and_in_its_pace() -> None:
    async def crowd() -> tuple[int, float]:
        hosts, at_work, most = HostThrottle(3, 0.01), 0, 0

        async def one() -> None:
            nonlocal at_work, most
            async with hosts.turn("a"):
                at_work += 1
                most = max(most, at_work)
                await asyncio.sleep(0.02)
                at_work -= 1

        began = time.monotonic()
        await asyncio.gather(*(one() for _ in range(12)))
        spent = time.monotonic() - began
        await asyncio.sleep(0.05)
        assert not hosts._hosts, "a host is remembered that nobody asks any more"
        return most, spent

    most, spent = asyncio.run(crowd())
    assert most <= 3
    assert spent >= 0.1


# --- addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "no address",
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_public(address, 443)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is_public_is_asked_at_the_ports_of_the_web_only(address: str) -> None:
    assert is_public(address, 80) and is_public(address, 443)
    assert not is_public(address, 22)


@given(st.ip_addresses(v=4))
def test_ipv4_inside_ipv6_is_judged_as_what_it_is(address: ipaddress.IPv4Address) -> None:
    plain = is_public(str(address), 443)
    assert is_public(f"::ffff:{address}", 443) == plain
    assert is_public(str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))), 443) == plain


# --- what lies on this machine


def test_a_file_is_never_read_past_its_bound(tmp_path: Path, ask: Callable[..., list[str]]) -> None:
    (tmp_path / "good.png").write_bytes(png())
    with (tmp_path / "vast").open("wb") as vast:
        vast.truncate(2**40)
    urls = [f"file:{tmp_path}/good.png", f"file:{tmp_path}/vast", f"file:{tmp_path}/none", f"file:{tmp_path}"]
    urls += [f"tar:{tmp_path}/good.png#x.png@0+{len(png())}", f"tar:{tmp_path}/good.png#x.png@9+9999", "tar:x#y"]
    assert ask({}, *urls) == [
        "ok",
        "too_many_bytes",
        "unreadable",
        "unreadable",
        "ok",
        "truncated",
        "bad_source",
    ]
