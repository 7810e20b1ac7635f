"""Checks every address of an outgoing connection when the socket is created, after look-ups and redirects.

aiohttp calls its connector's `socket_factory` for each address that it connects to. It calls its resolver only for
names, not for literal addresses. So the socket factory enforces the policy. The resolver rejects names earlier. It also
rejects a name that has both public and other addresses, a sign of DNS rebinding
(https://github.com/nccgroup/singularity/wiki).
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
"""Looks up a host name and returns its addresses as text. Raises OSError."""

_MAX_ADDRESSES = 8
"""Largest number of addresses of one name to which a connection is tried."""
_LOOKUP_THREADS = 8


class AddressRefused(PermissionError):
    """Raised for an address that may not be connected to. It is an OSError, because aiohttp expects one here."""

    def __init__(self) -> None:
        super().__init__(13, "this address may not be fetched from")


@dataclass(frozen=True, slots=True)
class NetworkAccess:
    """The system calls that look up names and create sockets. Tests replace them."""

    lookup: Lookup | None = None
    """Looks up a host name; None uses the system's resolver, in separate threads."""
    new_socket: Callable[[int, int, int], socket.socket] = socket.socket
    tls: ssl.SSLContext | None = None
    """The trusted certificate authorities; None trusts the system's."""


SYSTEM = NetworkAccess()


class Guard:
    """Decides for one Reachability which addresses may be connected to, and creates sockets only for these."""

    def __init__(self, policy: Policy, reachability: Reachability, network: NetworkAccess) -> None:
        self._reachability = reachability
        self._allowed = frozenset(policy.allow)
        self._new_socket = network.new_socket

    def allows(self, address: str, port: int) -> bool:
        """True if a socket may connect to this address and port."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        match reach(parsed):
            case Reach.PUBLIC:
                return True
            case Reach.PRIVATE:
                return self._reachability is Reachability.ALLOWED_PRIVATE
            case Reach.NEVER:
                return (
                    self._reachability is Reachability.ALLOWED_PRIVATE
                    and AllowedHost(str(parsed), port) in self._allowed
                )

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """An unconnected socket for an entry of getaddrinfo(). Raises AddressRefused if its address is not allowed."""
        family, kind, protocol, _, address = info
        if not self.allows(str(address[0]), int(address[1])):
            raise AddressRefused
        return self._new_socket(family, kind, protocol)


class GuardedResolver(AbstractResolver):
    """Looks up host names. Rejects a name if any of its addresses is rejected."""

    def __init__(self, guard: Guard, lookup: Lookup) -> None:
        self._guard = guard
        self._lookup = lookup

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of a host name, at most 8. Raises AddressRefused and other OSErrors."""
        addresses = await self._lookup(host)
        if not all(self._guard.allows(address, port) for address in addresses):
            raise AddressRefused
        return [_result(host, address, port) for address in addresses[:_MAX_ADDRESSES]]

    async def close(self) -> None:
        """Do nothing: all sessions share the look-up."""


class SystemResolver:
    """Looks up host names with the system's resolver, in separate threads.

    So a look-up without an answer does not block other work.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, "cropmark-names")

    async def __call__(self, host: str) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        addresses = await loop.run_in_executor(self._threads, _addresses, host)
        return list(dict.fromkeys(addresses))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def new_session(
    policy: Policy, reachability: Reachability, network: NetworkAccess, lookup: Lookup
) -> aiohttp.ClientSession:
    """An HTTP client session that connects only to allowed addresses.

    It has no cookies, uses no proxy from the environment, and does not follow redirects.
    """
    guard = Guard(policy, reachability, network)
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(guard, lookup),
        socket_factory=guard.socket,
        ssl=network.tls or True,
        use_dns_cache=False,  # the system's resolver caches; a second cache would only widen the rebinding window
        limit=0,  # the fetcher limits connections, with a timeout for the wait
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
