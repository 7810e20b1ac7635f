"""Who asks: the address that counts for fair shares and budgets.

It is the connection's own, unless that is a proxy of the operator's. Then X-Forwarded-For is read from its right end,
where each proxy wrote down whom it heard from: the first address that is no proxy of ours is the client. What stands
left of it was written by the client itself, and is not believed. Without `trusted_proxies` the header is not looked at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_HOPS: Final = 16
"""Addresses of X-Forwarded-For that are looked at."""
UNKNOWN: Final = "unknown"
_HOME_BITS: Final = 64
"""An IPv6 client has a whole network of this many bits to choose its address from: it counts as one."""


class ClientIp:
    """Tells clients apart, behind proxies whose word is taken."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """`trusted` are addresses and networks: `10.0.0.7`, `10.1.0.0/16`, `::1`. Raises ValueError."""
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in trusted)

    def resolve(self, scope: Any) -> str:
        """Who sent a request, as a name to count by."""
        peer = _address((scope.get("client") or ("",))[0])
        if peer is None:
            return UNKNOWN
        if not self._is_trusted(peer):
            return _name(peer)
        for hop in _forwarded(scope["headers"]):
            address = _address(hop)
            if address is None:  # a proxy of ours heard from somebody whose name it could not write
                return _name(peer)
            if not self._is_trusted(address):
                return _name(address)
            peer = address
        return _name(peer)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The hops of X-Forwarded-For, the nearest first."""
    text = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    return [hop.strip() for hop in text.split(",")[: -MOST_HOPS - 1 : -1]] if text else []


def _address(text: str) -> Address | None:
    """An address as proxies write it, perhaps with a port; one that IPv6 carries for IPv4 is that."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _name(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _HOME_BITS), strict=False))
