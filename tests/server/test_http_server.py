"""The HTTP server on a socket that several processes share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from cropmark.runtime.connections import Connections
from cropmark.server import http_server
from cropmark.server.errors import StartupError
from cropmark.server.http_server import HttpServer
from cropmark.server.listening import listen
from cropmark.web.request import Receive, Scope, Send


@pytest.fixture
def shared() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as listener:
        yield listener


async def no_page(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def start(shared: socket.socket) -> HttpServer:
    address = shared.getsockname()
    connections = Connections(address[1], 0, lambda _: None)
    return await HttpServer.start(no_page, address, connections, max_connections=9, stall_s=5, shared=shared)


async def test_a_process_that_accepts_nothing_is_not_ready(
    shared: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel opens connections to the shared socket although this process does not accept them."""
    monkeypatch.setattr(http_server, "_START_S", 0.3)
    monkeypatch.setattr("cropmark.server.http_server._Granian.serve", lambda _: asyncio.sleep(30))
    with pytest.raises(StartupError, match="does not accept connections"):
        await start(shared)


async def test_no_connection_waits_for_a_server_that_has_stopped(shared: socket.socket) -> None:
    address = shared.getsockname()
    server = await start(shared)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
    writer.close()
    await server.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
