"""Allows downloads from public addresses only, whatever a DNS name or a redirect points to.

A list of URLs is untrusted input. A URL that points to this machine, its network or a cloud's internal
services would let its author send requests through the downloader (SSRF). So the guard checks the address when
the socket is created: after the DNS lookup, for each connection, and again for each redirect.
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
# Old lists of URLs hold many dead host names, and looking up one of them can take half a minute to fail.
_LOOKUPS_AT_ONCE = 64


class RefusedAddress(OSError):
    """The connection would go to an address that the guard does not allow."""


def is_public(address: str, port: int) -> bool:
    """Whether the address is public and the port is 80 or 443. IPv4 inside IPv6 is judged as the IPv4 address."""
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
    """The IPv4 address inside a NAT64, IPv4-mapped, 6to4 or Teredo address; None for any other IPv6 address."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


class DnsResolver(AbstractResolver):
    """The machine's own resolver, in its own thread pool, so that slow lookups of dead names block nothing else."""

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
    """Decides whether a connection is allowed: to public addresses, and to the hosts that a setting names."""

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
        """Create the socket of a connection, or raise RefusedAddress. `info` holds the address that is connected to."""
        family, kind, protocol, _, place = info
        if (place[0], place[1]) not in named and not self.allows_address(place[0], place[1]):
            raise RefusedAddress(f"{place[0]} port {place[1]}")
        return socket.socket(family=family, type=kind, proto=protocol)


class _CheckedResolver(AbstractResolver):
    """Refuses a host name if one of its addresses is refused, so that no other address of it is tried."""

    def __init__(self, resolver: AbstractResolver, guard: AddressGuard) -> None:
        self._resolver, self._guard = resolver, guard
        # Resolved addresses and ports of the hosts that a setting names.
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
