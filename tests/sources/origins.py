"""Loopback servers with responses written by a test, and a network on which public addresses lead to them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from cropmark.sources.connection import NetworkAccess

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
"""Enough of an image for a source, which checks the first bytes only."""
GIF = b"GIF89a" + bytes(1000)

PUBLIC = "93.184.215.14"
OTHER_PUBLIC = "151.101.1.1"
"""Public addresses. A LoopbackSocket connects to loopback in their place; nothing is ever sent to them."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request as received."""

    path: str
    headers: Mapping[str, str]
    header_names: tuple[str, ...] = ()
    """In lower case and in order."""


Send = Callable[[bytes], Awaitable[None]]
Handler = Callable[[ReceivedRequest, Send], Awaitable[None]]


def reply(body: bytes = PNG, status: int = 200, **headers: str) -> bytes:
    """A correct HTTP response. `_` stands for `-` in header names."""
    all_headers = {"Content_Type": "image/png", "Content_Length": str(len(body)), "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in all_headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


@dataclass
class Origin:
    """A server. `responses` by path: bytes to send before closing, or a coroutine that sends them itself."""

    port: int = 0
    responses: dict[str, bytes | Handler] = field(default_factory=dict)
    requests: list[ReceivedRequest] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    """The names that TLS clients sent."""

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [each.path for each in self.requests]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = _parse_request(await reader.readuntil(b"\r\n\r\n"))
            self.requests.append(request)
            response = self.responses.get(request.path.partition("?")[0], reply(b"nothing", 404))

            async def send(piece: bytes) -> None:
                writer.write(piece)
                await writer.drain()

            if isinstance(response, bytes):
                await send(response)
            else:
                await response(request, send)
        writer.close()


def _parse_request(head: bytes) -> ReceivedRequest:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return ReceivedRequest(first.split(" ")[1], dict(pairs), tuple(name for name, _ in pairs))


@asynccontextmanager
async def origin(tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    """A running Origin."""
    started = Origin()
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: started.server_names.append(name)
    server = await asyncio.start_server(started.handle, "127.0.0.1", 0, ssl=tls)
    started.port = server.sockets[0].getsockname()[1]
    try:
        yield started
    finally:
        server.close()


class LoopbackSocket(socket.socket):
    """A socket that connects to loopback in place of the addresses in `routes`. Other public addresses fail."""

    routes: Mapping[tuple[str, int], int]

    def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]  # wider in the stubs: any address
        port = self.routes.get((address[0], address[1]))
        assert port is not None or address[0] == "127.0.0.1", f"{address} would leave this machine"
        super().connect(("127.0.0.1", port or address[1]))


@dataclass
class FakeInternet:
    """A fake internet.

    `names` gives the addresses of each name: one list per look-up, the last one also for all later look-ups. `routes`
    gives the loopback port of an address and port.
    """

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    routes: dict[tuple[str, int], int] = field(default_factory=dict)
    lookups: list[str] = field(default_factory=list)
    sockets: int = 0

    def add_server(self, name: str, served_by: int, port: int = 80, address: str = PUBLIC) -> None:
        """Add a public server with this name; connections to it go to the loopback port `served_by`."""
        self.names[name] = [[address]]
        self.routes[(address, port)] = served_by

    async def lookup(self, host: str) -> Sequence[str]:
        self.lookups.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        results = self.names[host]
        return results.pop(0) if len(results) > 1 else results[0]

    def network(self, tls: ssl.SSLContext | None = None) -> NetworkAccess:
        def new_socket(family: int, kind: int, protocol: int) -> socket.socket:
            self.sockets += 1
            loopback = LoopbackSocket(family, kind, protocol)
            loopback.routes = self.routes
            return loopback

        return NetworkAccess(self.lookup, new_socket, tls)
