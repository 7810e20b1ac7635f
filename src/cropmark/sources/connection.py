"""The guard at the connection: every address is judged when its socket is made, after all look-ups and redirects.

aiohttp asks its connector's `socket_factory` for a socket for each address that it is about to connect, names and
literal addresses alike; its resolver it asks for names only. So the factory is the wall. The resolver refuses earlier,
and also a name of which any address is not public: mixed answers are how rebinding begins (PixLab 6.2).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from cropmark.sources.addresses import Reach, reach
from cropmark.sources.policy import AllowedHost, Policy, Reachability

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""The addresses of a host name, as text. Raises OSError."""

_MOST_ADDRESSES = 8
"""Of one name that are tried."""
_LOOKUPS_AT_ONCE = 8


class AddressRefused(PermissionError):
    """An address that may not be connected to. An OSError, since aiohttp keeps to those while it connects."""

    def __init__(self) -> None:
        super().__init__(13, "not an address to fetch from")


@dataclass(frozen=True, slots=True)
class NetworkAccess:
    """What the guard stands on. Tests put their own in its place; the checks come before any of it is used."""

    lookup: Lookup | None = None
    """None: the system's, in threads of its own."""
    new_socket: Callable[[int, int, int], socket.socket] = socket.socket
    tls: ssl.SSLContext | None = None
    """None: the system's certificate authorities."""


SYSTEM = NetworkAccess()


class Guard:
    """Judges addresses and makes the sockets to them, for one Way."""

    def __init__(self, policy: Policy, way: Reachability, network: NetworkAccess) -> None:
        self._way = way
        self._named = frozenset(policy.allow)
        self._new_socket = network.new_socket

    def admits(self, address: str, port: int) -> bool:
        """Whether a socket may be connected there."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        match reach(found):
            case Reach.PUBLIC:
                return True
            case Reach.PRIVATE:
                return self._way is Reachability.ALLOWED_PRIVATE
            case Reach.NEVER:
                return self._way is Reachability.ALLOWED_PRIVATE and AllowedHost(str(found), port) in self._named

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """A socket for an address of getaddrinfo's form; it is not connected yet. Raises AddressRefused."""
        family, kind, protocol, _, address = info
        if not self.admits(str(address[0]), int(address[1])):
            raise AddressRefused
        return self._new_socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Looks names up, and refuses those of which any address is refused."""

    def __init__(self, guard: Guard, lookup: Lookup) -> None:
        self._guard = guard
        self._lookup = lookup

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        """At most 8 addresses of a name. Raises AddressRefused and other OSErrors."""
        found = await self._lookup(host)
        if not all(self._guard.admits(address, port) for address in found):
            raise AddressRefused
        return [_result(host, address, port) for address in found[:_MOST_ADDRESSES]]

    async def close(self) -> None:
        """Nothing to close: the look-up is shared."""


class SystemResolver:
    """The system's resolver, in threads of its own: names that never answer must not hold up other work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUPS_AT_ONCE, "cropmark-names")

    async def __call__(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _addresses, host)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def session(policy: Policy, way: Reachability, network: NetworkAccess, lookup: Lookup) -> aiohttp.ClientSession:
    """A client session behind the guard: no cookies, no proxies of the environment, no redirects of its own."""
    guard = Guard(policy, way, network)
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(guard, lookup),
        socket_factory=guard.socket,
        ssl=network.tls or True,
        use_dns_cache=False,  # the system's resolver caches; a second cache would only widen the rebinding window
        limit=0,  # the fetcher counts, with a deadline for the wait
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        headers={"User-Agent": policy.user_agent, "Accept": "*/*", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, connect=policy.connect_s, sock_read=policy.first_byte_s),
    )


def _addresses(host: str) -> list[str]:
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(info[4][0]) for info in infos]


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=numeric)
