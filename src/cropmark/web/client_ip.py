"""The client's IP address, by which requests are counted for fair shares and quotas.

It is the address of the connection, unless that is a trusted proxy. Then X-Forwarded-For is read from the right, where
each proxy appended the address that it received the request from: the first address that is not a trusted proxy is the
client's. Addresses to the left of it were written by the client and are ignored. Without trusted proxies the header is
ignored.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS: Final = 16
"""Addresses of X-Forwarded-For that are read."""
UNKNOWN: Final = "unknown"
_CLIENT_NETWORK_BITS: Final = 64
"""Prefix length of the network that one IPv6 client can choose its addresses from; all of them count as one client."""


class ClientIp:
    """Resolves the client of a request that may come through trusted proxies."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """`trusted` are addresses and networks: `10.0.0.7`, `10.1.0.0/16`, `::1`. Raises ValueError."""
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in trusted)

    def resolve(self, scope: Any) -> str:
        """The client's IPv4 address or IPv6 network as text."""
        peer = _address((scope.get("client") or ("",))[0])
        if peer is None:
            return UNKNOWN
        if not self._is_trusted(peer):
            return _client_key(peer)
        for hop in _forwarded_hops(scope["headers"]):
            address = _address(hop)
            if address is None:  # a trusted proxy wrote `unknown` or an obfuscated name
                return _client_key(peer)
            if not self._is_trusted(address):
                return _client_key(address)
            peer = address
        return _client_key(peer)

    def is_trusted_proxy(self, scope: Any) -> bool:
        """True if the connection comes from a trusted proxy."""
        peer = _address((scope.get("client") or ("",))[0])
        return peer is not None and self._is_trusted(peer)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded_hops(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The addresses of X-Forwarded-For, the last proxy's first."""
    text = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    return [hop.strip() for hop in text.split(",")[: -MAX_HOPS - 1 : -1]] if text else []


def _address(text: str) -> Address | None:
    """An address as a proxy writes it, with or without a port. An IPv4-mapped IPv6 address becomes IPv4."""
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


def _client_key(address: Address) -> str:
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, _CLIENT_NETWORK_BITS), strict=False))
