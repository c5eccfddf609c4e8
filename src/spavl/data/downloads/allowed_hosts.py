"""Hosts and networks that are not public but that a setting allows."""

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from yarl import URL

PORTS = (80, 443)


class AllowedHost(NamedTuple):
    """A host by its name, or a network, and the ports that are allowed there."""

    name: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    ports: tuple[int, ...]

    def is_at(self, address: str, port: int) -> bool:
        """Whether an address is in this network."""
        if self.network is None or port not in self.ports:
            return False
        try:
            return ipaddress.ip_address(address.partition("%")[0]) in self.network
        except ValueError:
            return False

    def is_named(self, host: str, port: int) -> bool:
        if self.network is not None or port not in self.ports:
            return False
        try:
            return _as_asked(host) == self.name
        except ValueError:
            return False


def allowed_of(written: str) -> AllowedHost:
    """Parse HOST, HOST:PORT, ADDRESS or NETWORK such as 10.1.0.0/16; an address or network may have a port too."""
    try:
        return AllowedHost("", ipaddress.ip_network(written.strip("[]")), PORTS)
    except ValueError:
        name, _, port = written.rpartition(":")
    ports: tuple[int, ...] = PORTS
    if not name:
        name = port
    elif port.isdecimal() and 0 < int(port) < 2**16:
        ports = (int(port),)
    else:
        raise ValueError(f"{written!r} is no host, HOST:PORT or network such as 10.1.0.0/16")
    try:
        return AllowedHost("", ipaddress.ip_network(name.strip("[]")), ports)
    except ValueError:
        if not name or any(sign in name for sign in "/:@?# "):
            raise ValueError(f"{written!r} is no host, HOST:PORT or network such as 10.1.0.0/16") from None
        if "*" in name:
            raise ValueError(f"{written!r} names no host: each is named in full, for * stands for none") from None
        return AllowedHost(_as_asked(name), None, ports)


def _as_asked(host: str) -> str:
    """A host name as it is sent to DNS: bücher.example becomes xn--bcher-kva.example."""
    return URL.build(scheme="http", host=host).raw_host or ""


def place_of_proxy(address: str) -> tuple[str, int]:
    """Host and port of a proxy's address."""
    found = urlsplit(address)
    if found.scheme != "http" or not found.hostname or found.path.strip("/") or found.query:
        raise ValueError("a proxy is written as http://HOST:PORT")
    return found.hostname, found.port or 80


def all_allowed(written: Sequence[str], proxy: str) -> tuple[AllowedHost, ...]:
    found = tuple(map(allowed_of, written))
    if not proxy:
        return found
    host, port = place_of_proxy(proxy)
    return (*found, allowed_of(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
