"""The client's IP address, by which requests are counted for fair shares and quotas.

The client's address is that of the connection, unless the connection comes from a trusted proxy. Then X-Forwarded-For
is read from the right, where each proxy appended the address that it received the request from: the first address that
is not a trusted proxy is the client's. Addresses to the left of it were written by the client and are ignored. Without
trusted proxies the header is ignored. A server that listens on a Unix domain socket trusts all of its connections,
since the permissions of the socket admit the proxy only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS: Final = 16
"""Largest number of addresses that are read from X-Forwarded-For."""
UNKNOWN: Final = "unknown"
_CLIENT_NETWORK_BITS: Final = 64
"""Prefix length of the network that one IPv6 client can choose its addresses from; all of them count as one client."""


class ClientIp:
    """Resolves the client of a request that may come through trusted proxies."""

    def __init__(self, trusted: Iterable[str] = (), *, trusts_socket: bool = False) -> None:
        """`trusted` are addresses and networks: `10.0.0.7`, `10.1.0.0/16`, `::1`. Raises ValueError.

        With `trusts_socket`, connections without an address, over a Unix domain socket, are those of a trusted proxy.
        """
        self._trusts_socket = trusts_socket
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in trusted)

    @property
    def trusts_proxies(self) -> bool:
        return bool(self._trusted) or self._trusts_socket

    def resolve(self, scope: Any) -> str:
        """The client's IPv4 address or IPv6 network as text."""
        client = self._client(scope)
        return UNKNOWN if client is None else _client_key(client)

    def address(self, scope: Any) -> str:
        """The client's whole address as text, for logs."""
        client = self._client(scope)
        return UNKNOWN if client is None else str(client)

    def _client(self, scope: Any) -> Address | None:
        peer = _address((scope.get("client") or ("",))[0])
        if not self._is_proxy(peer):
            return peer
        for hop in _forwarded_hops(scope["headers"]):
            address = _address(hop)
            if address is None:  # a trusted proxy wrote `unknown` or an obfuscated name
                return peer
            if not self._is_trusted(address):
                return address
            peer = address
        return peer

    def of_peer(self, peer: str) -> str | None:
        """The client of a connection from the address `peer`; None for this machine and for trusted proxies."""
        address = _address(peer)
        return None if address is None or address.is_loopback or self._is_trusted(address) else _client_key(address)

    def is_trusted_proxy(self, scope: Any) -> bool:
        """True if the connection comes from a trusted proxy."""
        peer = _address((scope.get("client") or ("",))[0])
        return self._is_proxy(peer)

    def is_https(self, scope: Any) -> bool:
        """True if the client's connection is encrypted, as X-Forwarded-Proto of a trusted proxy says."""
        schemes = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        return schemes == [b"https"] and self.is_trusted_proxy(scope)

    def _is_proxy(self, peer: Address | None) -> bool:
        return self._trusts_socket if peer is None else self._is_trusted(peer)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded_hops(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The addresses in X-Forwarded-For, beginning with the one that the last proxy appended."""
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


THIS_MACHINE: Final = frozenset(_client_key(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1"))
"""The clients to which requests from this machine's loopback addresses belong, unless these are trusted proxies."""
