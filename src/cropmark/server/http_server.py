"""Runs the HTTP server Granian on this event loop, at one address."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]  # not in its __all__
from granian.server.embed import Server as Granian

from cropmark.config.addresses import base_url, socket_path
from cropmark.runtime.connections import Connections, limit_unsent, may_accept
from cropmark.server.errors import StartupError
from cropmark.server.listening import BACKLOG
from cropmark.web.deps import Pages

HEADER_TIMEOUT_S: Final = 15
"""Seconds that a client has to send its headers."""
LAST_BYTES_S: Final = 2.0
"""Seconds that clients have to receive the end of a response when the server stops."""
_START_S: Final = 10.0
_SOCKET_MODE: Final = 0o660
"""Owner and group may connect: the proxy must be in the group of the socket."""


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A running HTTP server, which passes requests to an app."""

    listening: asyncio.Future[None]
    """The run of the HTTP server; done when it has ended."""
    _granian: _Granian
    _connections: Connections
    _sweeping: asyncio.Future[None]

    @classmethod
    async def start(
        cls,
        app: Pages,
        address: tuple[str, int],
        connections: Connections,
        *,
        max_connections: int,
        stall_s: float,
        shared: socket.socket | None = None,
    ) -> HttpServer:
        """Start the server and wait until it accepts requests. Raises StartupError.

        `shared` is a socket from which several processes accept connections; None: the server opens its own. A
        connection is closed if its client receives nothing for `stall_s` seconds.
        """
        granian = _granian(app, *address, max_connections)
        granian.shared = shared
        listening = asyncio.ensure_future(granian.serve())
        await _wait_until_accepting(address, listening, shared)
        limit_unsent(address[1], stall_s)
        return cls(listening, granian, connections, asyncio.ensure_future(connections.sweep_forever()))

    async def stop(self) -> None:
        """Stop listening, wait up to LAST_BYTES_S until clients have received the last bytes, and close connections."""
        self._sweeping.cancel()
        self._granian.stop()  # type: ignore[no-untyped-call]  # granian types the rest
        if self._granian.shared is not None:
            self._granian.shared.close()  # else clients would wait in its backlog for a process that does not accept
        await asyncio.wait({self.listening}, timeout=LAST_BYTES_S)
        if not self.listening.done():
            self._connections.sweep(all_of_them=True)  # Granian would wait forever for clients that take nothing
        with contextlib.suppress(asyncio.CancelledError):
            await self.listening


def _granian(app: Pages, host: str, port: int, max_connections: int) -> _Granian:
    server = _Granian(
        app,
        address=host,
        port=port,
        uds=socket_path(host),
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,  # a proxy in front does TLS and HTTP/2; detecting HTTP/2 takes time on each connection
        websockets=False,
        backlog=BACKLOG,
        backpressure=max_connections,
        log_enabled=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_S * 1000, max_buffer_size=64 * 1024),
    )
    server.uds_permissions = _SOCKET_MODE  # not a parameter of the embedded server
    return server


class _Granian(Granian):
    """Granian that can accept connections from the socket `shared`, which other processes use too."""

    shared: socket.socket | None = None

    def _init_shared_socket(self) -> None:
        if self.shared is None:
            super()._init_shared_socket()  # type: ignore[no-untyped-call]  # of granian
            return
        descriptor: Any = os.dup(self.shared.fileno())  # the holder closes it
        holder: Any = SocketHolder  # its stub lacks the arguments
        self._ssp, self._sfd, self._shd = None, descriptor, holder(descriptor, False, BACKLOG)


async def _wait_until_accepting(
    address: tuple[str, int], listening: asyncio.Future[None], shared: socket.socket | None
) -> None:
    """Return when this process accepts connections. Raises StartupError after ten seconds.

    For a shared socket, a successful connection does not prove this: the kernel may open it for another process.
    """
    end_s = asyncio.get_running_loop().time() + _START_S
    while asyncio.get_running_loop().time() < end_s and not listening.done():
        if await _is_open(*address) and (shared is None or may_accept(shared)):
            return
        await asyncio.sleep(0.05)
    raise StartupError(f"the server does not accept connections on {base_url(*address)}", "see the log above")


async def _is_open(host: str, port: int) -> bool:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    path = socket_path(host)
    try:
        _, writer = await (asyncio.open_unix_connection(path) if path else asyncio.open_connection(target, port))
    except OSError:
        return False
    writer.close()
    return True
