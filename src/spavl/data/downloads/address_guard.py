"""Allows downloads from public addresses only, whatever a DNS name or a redirect says.

A list of URLs is written by strangers. One that leads to this machine, its network or a cloud's own
services would make the downloader their tool. So an address is checked where the socket is made:
after the name was looked up, for this very connection, and again for each redirect.
"""

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from spavl.data.downloads.allowed_hosts import PORTS, AllowedHost

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of old lists many names are dead, and some take half a minute to say so.
_LOOKUPS_AT_ONCE = 64


class RefusedAddress(OSError):
    """The connection would have led to where no image is fetched from."""


def is_public(address: str, port: int) -> bool:
    """Whether anybody on the net could be at this address. IPv4 inside IPv6 counts as what it is."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if port not in PORTS:
        return False
    inner = _inner(found) if isinstance(found, ipaddress.IPv6Address) else None
    return all(
        each.is_global and not (each.is_multicast or each.is_reserved or each.is_unspecified)
        for each in ((inner,) if inner else (found,))
    )


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address only wraps, by any of the ways there are."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


class DnsResolver(AbstractResolver):
    """The machine's own way to look names up, in threads of its own so that nobody else waits for dead names."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, "dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look_up = functools.partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(hostname=host, host=str(place[0]), port=port, family=kind, proto=protocol, flags=0)
            for kind, _, protocol, _, place in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """What is asked before each connection. Beside public places it allows those that a setting names."""

    allows: Callable[[str, int], bool] = is_public
    resolver: Callable[[], AbstractResolver] = DnsResolver
    named: tuple[AllowedHost, ...] = ()

    def allows_address(self, address: str, port: int) -> bool:
        return self.allows(address, port) or any(each.is_at(address, port) for each in self.named)

    def connector(self, limit: int) -> aiohttp.TCPConnector:
        resolver = _CheckedResolver(self.resolver(), self)
        return aiohttp.TCPConnector(
            limit=limit,
            resolver=resolver,
            use_dns_cache=False,
            socket_factory=functools.partial(self._socket, resolver.named),
            force_close=True,
        )

    def _socket(self, named: Collection[tuple[str, int]], info: Any) -> socket.socket:
        """The last word: the address given here is the one that is then connected to."""
        family, kind, protocol, _, place = info
        if (place[0], place[1]) not in named and not self.allows_address(place[0], place[1]):
            raise RefusedAddress(f"{place[0]} port {place[1]}")
        return socket.socket(family=family, type=kind, proto=protocol)


class _CheckedResolver(AbstractResolver):
    """Refuses a name of which one address is refused, so that none is tried beside it."""

    def __init__(self, resolver: AbstractResolver, guard: AddressGuard) -> None:
        self._resolver, self._guard = resolver, guard
        # Where hosts are that a setting names.
        self.named: set[tuple[str, int]] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if any(each.is_named(host, port) for each in self._guard.named):
            self.named |= {(each["host"], port) for each in found}
            return found
        for each in found:
            if not self._guard.allows_address(each["host"], port):
                raise RefusedAddress(f"{host} is {each['host']} port {port}")
        return found

    async def close(self) -> None:
        await self._resolver.close()
