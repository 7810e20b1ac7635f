"""Servers on loopback that answer what a test writes, and a network on which public addresses lead to them."""

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
"""Enough of a picture for a source: it looks at the first bytes only."""
GIF = b"GIF89a" + bytes(1000)

PUBLIC = "93.184.215.14"
PUBLIC_TOO = "151.101.1.1"
"""Addresses that the guard takes for public. A Detour leads them to loopback; nothing is ever sent to them."""


@dataclass(frozen=True)
class Heard:
    """A request as it arrived."""

    path: str
    headers: Mapping[str, str]
    names: tuple[str, ...] = ()
    """Of the headers, in lower case and in order."""


Send = Callable[[bytes], Awaitable[None]]
Answer = Callable[[Heard, Send], Awaitable[None]]


def reply(body: bytes = PNG, status: int = 200, **headers: str) -> bytes:
    """An honest answer; header names with _ for -."""
    named = {"Content_Type": "image/png", "Content_Length": str(len(body)), "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


@dataclass
class Origin:
    """A server. `answers` by path: bytes to send and close, or a coroutine that sends them itself."""

    port: int = 0
    answers: dict[str, bytes | Answer] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    """Server names that TLS clients asked for."""

    def url(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        return [each.path for each in self.heard]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            heard = _heard(await reader.readuntil(b"\r\n\r\n"))
            self.heard.append(heard)
            answer = self.answers.get(heard.path.partition("?")[0], reply(b"nothing", 404))

            async def send(piece: bytes) -> None:
                writer.write(piece)
                await writer.drain()

            if isinstance(answer, bytes):
                await send(answer)
            else:
                await answer(heard, send)
        writer.close()


def _heard(head: bytes) -> Heard:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Heard(first.split(" ")[1], dict(pairs), tuple(name for name, _ in pairs))


@asynccontextmanager
async def origin(tls: ssl.SSLContext | None = None) -> AsyncIterator[Origin]:
    """An Origin that listens."""
    found = Origin()
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: found.names.append(name)
    server = await asyncio.start_server(found.handle, "127.0.0.1", 0, ssl=tls)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


class Detour(socket.socket):
    """A socket that connects to loopback ports in place of the addresses of its map; else to loopback, or nowhere."""

    ways: Mapping[tuple[str, int], int]

    def connect(self, address: tuple[str, int]) -> None:  # type: ignore[override]  # wider in the stubs: any address
        port = self.ways.get((address[0], address[1]))
        assert port is not None or address[0] == "127.0.0.1", f"{address} would leave this machine"
        super().connect(("127.0.0.1", port or address[1]))


@dataclass
class Web:
    """A pretended internet: `names` to addresses, a list for each look-up in turn (the last one stays); `ways` from
    addresses and ports to loopback ports."""

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    ways: dict[tuple[str, int], int] = field(default_factory=dict)
    looked_up: list[str] = field(default_factory=list)
    sockets: int = 0

    def place(self, name: str, served_by: int, port: int = 80, address: str = PUBLIC) -> None:
        """A public server of that name, whose port is the loopback port."""
        self.names[name] = [[address]]
        self.ways[(address, port)] = served_by

    async def lookup(self, host: str) -> Sequence[str]:
        self.looked_up.append(host)
        if host not in self.names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def network(self, tls: ssl.SSLContext | None = None) -> NetworkAccess:
        def new_socket(family: int, kind: int, protocol: int) -> socket.socket:
            self.sockets += 1
            made = Detour(family, kind, protocol)
            made.ways = self.ways
            return made

        return NetworkAccess(self.lookup, new_socket, tls)
