"""The server's life: listen, answer, reload on SIGHUP, drain on SIGTERM, stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server as Granian

from cropmark.config.loader import InvalidConfiguration, LoadedSettings, Settings
from cropmark.config.paths import data_folder, have_temporary_files
from cropmark.server.policies import LISTENING, addresses_of
from cropmark.server.sites import StartupError
from cropmark.server.wiring import Server, wired
from cropmark.web.request import Receive, Scope, Send

log = structlog.get_logger("cropmark.server")

HEADERS_S = 15
"""How long a client may take to send its headers."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers now, and where."""

    server: Server
    address: str


class _SwappableApp:
    """The ASGI app that the HTTP server knows; behind it the wired server may be exchanged whole."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.server.app(scope, receive, send)


def run(
    configured: LoadedSettings, *, reread: Callable[[], LoadedSettings], started: Callable[[RunningServer], None]
) -> None:
    """serve(), on uvloop: a hit takes a quarter less of the processor than on asyncio's own loop (decisions/0130)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(configured, reread=reread, started=started))


async def serve(
    configured: LoadedSettings, *, reread: Callable[[], LoadedSettings], started: Callable[[RunningServer], None]
) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotStart, and BadConfiguration for a host that is none.

    `reread` reads the configuration anew for SIGHUP; `started` is told once the first request would be answered.
    """
    settings = configured.settings
    host, port = free_port(settings)
    listening_at = address(host, port)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(wired(settings, listening_at))
        have_temporary_files(data_folder(settings))
        front = _SwappableApp(running)
        granian = _granian(front, host, port)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        reloads = _Reloader(front, reread, settings, listening_at)
        loop.add_signal_handler(signal.SIGHUP, reloads.begin)
        listening = asyncio.ensure_future(granian.serve())
        await _answers(host, port, listening)
        started(RunningServer(running, listening_at))
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({listening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not await front.server.app.drained(settings.shutdown_s):
            log.warning("stopped with requests in hand", requests=front.server.app.in_hand)
        granian.stop()  # type: ignore[no-untyped-call]  # granian types the rest
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        await reloads.close()


class _Reloader:
    """SIGHUP: a new server is wired from the configuration as it is now, and takes over whole or not at all."""

    def __init__(
        self, front: _SwappableApp, reread: Callable[[], LoadedSettings], settings: Settings, listening: str
    ) -> None:
        self._front = front
        self._settings = settings
        self._listening = listening
        self._reread = reread
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        fresh = AsyncExitStack()
        try:
            settings = self._reread().settings
            server = await fresh.enter_async_context(wired(settings, self._listening))
        except (InvalidConfiguration, StartupError) as error:
            await fresh.aclose()
            log.error("not reloaded, the old configuration goes on", why=str(error))  # noqa: TRY400 - told, no trace
            return
        except Exception:
            await fresh.aclose()
            log.exception("not reloaded, the old configuration goes on")
            return
        old, self._front.server = self._front.server, server
        await old.app.drained(30)
        await self._stack.aclose()
        self._stack = fresh
        log.info("reloaded")
        if (settings.host, settings.port) != (self._settings.host, self._settings.port):
            log.warning("another host or port is listened on from the next start on", listening=self._listening)

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await self._stack.aclose()


def _granian(front: _SwappableApp, host: str, port: int) -> Granian:
    return Granian(
        front,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,  # TLS is the proxy's, and so is HTTP/2; looking for it costs every connection
        websockets=False,
        backlog=1024,
        log_enabled=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEADERS_S * 1000, max_buffer_size=64 * 1024),
    )


def free_port(settings: Settings) -> tuple[str, int]:
    """The address of the host and the port, or a free one for 0. Raises CannotStart where they may not be had."""
    host, port = settings.host, settings.port
    refused: list[OSError] = []
    for family, found in addresses_of(settings):
        try:
            return found, _bound(family, found, port)
        except PermissionError as error:
            raise StartupError(f"port {port} may not be listened on", "take one above 1023 with --port") from error
        except OSError as error:
            refused.append(error)
    first = refused[0]
    if first.errno == errno.EADDRNOTAVAIL:
        raise StartupError(f"host: {host} is no address of this machine", LISTENING) from first
    why = first.strerror or str(first)
    raise StartupError(f"port {port} of {host} is not free: {why}", f"try --port {port + 1}") from first


def _bound(family: socket.AddressFamily, host: str, port: int) -> int:
    """The port, or a free one for 0. Raises OSError."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        found: int = probe.getsockname()[1]
        return found


def address(host: str, port: int) -> str:
    """The URL that a browser on this machine opens."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - told
    return f"http://{name}:{port}"


async def _answers(host: str, port: int, listening: asyncio.Future[None]) -> None:
    """Return as soon as a connection is taken. Raises CannotStart where none is within ten seconds."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a look-up, nothing is bound
    for _ in range(200):
        if listening.done():
            break
        try:
            _, writer = await asyncio.open_connection(target, port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise StartupError(f"nothing answers on port {port}", "look at the log above")
