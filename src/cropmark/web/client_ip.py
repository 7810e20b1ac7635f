"""Determines the IP address of a request's client, for rate limits, quotas, fair shares and logs.

A connection that does not come from a trusted proxy has the client's own address, and X-Forwarded-For is ignored.
If it comes from a trusted proxy, X-Forwarded-For is read from right to left, because each proxy appends the address
that it received the request from. The first address that is not a trusted proxy is the client's. The addresses further
left are ignored, because the client can write them. A server that listens on a Unix domain socket trusts all of its
connections, because the permissions of the socket admit only the proxy.
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
    """Determines the client of a request, directly or through trusted proxies."""

    def __init__(self, trusted: Iterable[str] = (), *, trusts_socket: bool = False) -> None:
        """`trusted`: addresses and networks of proxies, such as `10.0.0.7`, `10.1.0.0/16`, `::1`. Raises ValueError.

        `trusts_socket`: connections over a Unix domain socket, which have no address, come from a trusted proxy.
        """
        self._trusts_socket = trusts_socket
        self._trusted: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in trusted)

    @property
    def trusts_proxies(self) -> bool:
        return bool(self._trusted) or self._trusts_socket

    def resolve(self, scope: Any) -> str:
        """The client's IPv4 address, or the /64 network of its IPv6 address; `unknown` if it has no address."""
        client = self._client(scope)
        return UNKNOWN if client is None else _client_key(client)

    def address(self, scope: Any) -> str:
        """The client's full address, for logs; `unknown` if it has none."""
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
        """The client of a connection from the address `peer`, in the form that resolve() returns.

        None for loopback addresses, trusted proxies, and texts that are not an address.
        """
        address = _address(peer)
        return None if address is None or address.is_loopback or self._is_trusted(address) else _client_key(address)

    def is_trusted_proxy(self, scope: Any) -> bool:
        """True if the connection comes from a trusted proxy."""
        peer = _address((scope.get("client") or ("",))[0])
        return self._is_proxy(peer)

    def is_https(self, scope: Any) -> bool:
        """True if a trusted proxy reports in X-Forwarded-Proto that the client uses HTTPS."""
        schemes = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        return schemes == [b"https"] and self.is_trusted_proxy(scope)

    def _is_proxy(self, peer: Address | None) -> bool:
        return self._trusts_socket if peer is None else self._is_trusted(peer)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _forwarded_hops(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The addresses in X-Forwarded-For from right to left, at most MAX_HOPS of them."""
    text = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1")
    return [hop.strip() for hop in text.split(",")[: -MAX_HOPS - 1 : -1]] if text else []


def _address(text: str) -> Address | None:
    """The IP address in a text such as `10.0.0.7`, `10.0.0.7:443` or `[::1]:443`; None if the text has none.

    An IPv4-mapped IPv6 address becomes IPv4.
    """
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
"""The results of resolve() for connections from a loopback address that is not a trusted proxy."""
