"""Downloads images from servers that may be gone, slow or hostile. Every failure has a named reason."""

import asyncio
import socket
from dataclasses import replace
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import aiohttp
from yarl import URL

from spavl import __version__
from spavl.data.downloads.address_guard import AddressGuard, RefusedAddress
from spavl.data.downloads.allowed_hosts import PORTS, all_allowed
from spavl.data.downloads.config import FetchConfig
from spavl.data.downloads.host_throttle import HostThrottle
from spavl.imaging.decode import LARGEST_BYTES
from spavl.imaging.unfetchable import Unfetchable
from spavl.text.http_headers import retry_after

_MOST_REDIRECTS = 4
_REDIRECTS = (301, 302, 303, 307, 308)
# Temporary failures, like all statuses from 500 on; a retry may succeed.
_PASSING = (408, 425, 429)
_ASKED_TOO_MUCH = (429, 503)
_NO_AI = {"noai", "noimageai"}
_UNTYPED = ("application/octet-stream", "binary/octet-stream", "")
_FIRST_WAIT = 1.0
_HEADERS = {"User-Agent": f"spavl/{__version__}", "Accept": "image/*", "Accept-Encoding": "identity"}


class Downloader:
    """Downloads images. Use it as a context manager, one for a whole stage."""

    def __init__(self, settings: FetchConfig, guard: AddressGuard, at_once: int) -> None:
        guard = replace(guard, named=all_allowed(settings.allow, settings.proxy))
        self._settings, self._guard = settings, guard
        self._hosts = HostThrottle(settings.per_host, settings.min_delay)
        self._session = aiohttp.ClientSession(
            connector=guard.connector(at_once),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A few bytes may decompress to gigabytes; images are compressed already.
            auto_decompress=False,
        )

    async def __aenter__(self) -> "Downloader":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(self, url: str) -> bytes:
        """The bytes at a URL. Temporary failures are retried, with exponential backoff."""
        wait = _FIRST_WAIT
        for _ in range(self._settings.tries - 1):
            try:
                return await self._get(url)
            except Unfetchable as error:
                if not error.passing:
                    raise
            await asyncio.sleep(wait)
            wait *= 2
        return await self._get(url)

    async def _get(self, url: str) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            target = _fetchable_url(url)
            async with self._hosts.turn(target.host or ""):
                found = await self._send_request(target)
            if isinstance(found, bytes):
                return found
            url = found
        raise Unfetchable("too_many_redirects")

    def _check_place(self, target: URL) -> None:
        """Check the host in a URL: behind a proxy, the guard cannot see which address a host name resolves to."""
        host, port = target.host or "", target.port or 0
        if any(each.is_named(host, port) or each.is_at(host, port) for each in self._guard.named):
            return
        address = _address_in(host)
        is_refused = address is not None and not self._guard.allows_address(address, port)
        is_here = host.rstrip(".").rpartition(".")[2].lower() == "localhost"
        if is_here or is_refused or port not in PORTS:
            raise Unfetchable("refused_address")

    async def _send_request(self, target: URL) -> bytes | str:
        """Send one request; returns the body, or the URL that the server redirects to."""
        if self._settings.proxy:
            self._check_place(target)
        try:
            async with (
                asyncio.timeout(self._settings.timeout),
                self._session.get(target, allow_redirects=False, proxy=self._settings.proxy or None) as response,
            ):
                if response.status in _REDIRECTS and (place := response.headers.get("Location")):
                    return _redirect_target(str(target), place)
                _check(response)
                return await _body(response)
        except Unfetchable as error:
            if error.wait is not None:
                self._hosts.pause(target.host or "", error.wait)
            raise
        except TimeoutError:
            raise Unfetchable("timeout", passing=True) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _unfetchable_of_error(error) from None


def _address_in(host: str) -> str | None:
    """The IP address that a host is written as, if it is one; also in the older forms of IPv4, such as 0x7f.1."""
    if ":" in host:
        return host
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except OSError:
        return None


def _fetchable_url(url: str) -> URL:
    """Parse a URL; raises Unfetchable unless it is HTTP(S), with a host, without credentials. The guard checks more."""
    try:
        scheme, target = urlsplit(url).scheme, URL(url)
        # yarl parses some parts only on access, such as an internationalized host name.
        host, user = target.host, target.user or target.password
    except ValueError:
        raise Unfetchable("bad_url") from None
    if scheme not in ("http", "https"):
        raise Unfetchable("refused_scheme")
    if not host or user:
        raise Unfetchable("bad_url")
    return target


def _redirect_target(base: str, place: str) -> str:
    try:
        return urljoin(base, place)
    except ValueError:
        raise Unfetchable("bad_url") from None


def _check(response: aiohttp.ClientResponse) -> None:
    """Check the status and the headers, before the body is read."""
    status = response.status
    if status != 200:
        raise Unfetchable(f"http_{status}", passing=status in _PASSING or status >= 500, wait=_wait(response))
    if _forbids_ai(response.headers.getall("X-Robots-Tag", [])):
        raise Unfetchable("noai")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise Unfetchable("packed")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in _UNTYPED:
        raise Unfetchable("not_an_image")
    if (response.content_length or 0) > LARGEST_BYTES:
        raise Unfetchable("too_many_bytes")


def _wait(response: aiohttp.ClientResponse) -> float | None:
    """Seconds to pause a host after a 429 or 503; None for any other status."""
    if response.status not in _ASKED_TOO_MUCH:
        return None
    said = retry_after(response.headers)
    return _FIRST_WAIT if said is None else said


def _forbids_ai(tags: list[str]) -> bool:
    """Whether X-Robots-Tag has `noai` or `noimageai`, for all robots or for one ("somebot: noai, noindex")."""
    words = (word.rpartition(":")[2].strip().lower() for tag in tags for word in tag.split(","))
    return not _NO_AI.isdisjoint(words)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in response.content.iter_chunked(2**16):
        data += part
        if len(data) > LARGEST_BYTES:
            raise Unfetchable("too_many_bytes")
    return bytes(data)


def _unfetchable_of_error(error: Exception) -> Unfetchable:
    """The reject reason of a network error."""
    causes = _causes(error)
    if any(isinstance(cause, RefusedAddress) for cause in causes):
        return Unfetchable("refused_address")
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return Unfetchable("dns", passing=cause.errno == socket.EAI_AGAIN)
    if isinstance(error, aiohttp.ClientSSLError):
        return Unfetchable("tls")
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return Unfetchable("bad_url")
    if isinstance(error, aiohttp.ClientPayloadError):
        return Unfetchable("broken_off", passing=True)
    if isinstance(error, aiohttp.ClientResponseError):
        return Unfetchable("no_http")
    return Unfetchable("connection", passing=True)


def _causes(error: BaseException) -> list[BaseException]:
    """The error and all errors that caused it. If several addresses of a host fail, they are a group."""
    found, left = list[BaseException](), [error]
    while left:
        each = left.pop()
        if each in found:
            continue
        found.append(each)
        left += [cause for cause in (each.__cause__, each.__context__, getattr(each, "os_error", None)) if cause]
        left += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
    return found
