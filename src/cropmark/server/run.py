"""Runs the server. It listens, reloads the configuration on SIGHUP (reloads.py), and drains and stops on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
import uvloop

from cropmark.config.addresses import base_url, socket_path
from cropmark.config.errors import InvalidConfiguration
from cropmark.config.loader import LoadedSettings
from cropmark.config.paths import cache_folder, data_folder, ensure_temporary_folder
from cropmark.config.settings import Settings
from cropmark.fleet.host_locks import HostLocks
from cropmark.fleet.siblings import Siblings
from cropmark.runtime import tracing
from cropmark.runtime.connections import Connections
from cropmark.server import fronts
from cropmark.server.errors import StartupError
from cropmark.server.http_server import HttpServer
from cropmark.server.kept import Kept
from cropmark.server.listening import listen, listening_addresses, with_addresses_of
from cropmark.server.pixlab import session_key
from cropmark.server.reloads import Generation, OperatorApp, Reloader, SwappableApp, connection_limits
from cropmark.server.supervisor import STOP, Forked, Supervisor, hold_reloads, release_reloads
from cropmark.server.wiring import Server
from cropmark.web.sessions import session_seed

log = structlog.get_logger("cropmark.server")

_OPERATOR_CONNECTIONS = 64
_URL_OVER_SOCKET = "http://localhost"
"""The server's own URL, if it listens on a socket and `public_url` is not set."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that accepts requests. `address` is its base URL."""

    server: Server
    address: str
    admin_address: str = ""
    """The base URL of the operator paths, if they have a port of their own."""


def run(
    loaded: LoadedSettings,
    *,
    reload_settings: Callable[[], LoadedSettings],
    on_started: Callable[[RunningServer], None],
) -> None:
    """Run the server until it stops.

    With one front, this process runs serve(). With several fronts, each front is a fork of this process that runs
    serve(), and this process supervises the fronts. serve() runs on uvloop, where a cache hit takes 25 % less CPU time
    than on asyncio's own loop (decisions/0130).
    """
    hold_reloads()  # until _handle_signals()
    count, forked = fronts.number_of(loaded.settings), None
    if count > 1:
        forked = _supervise(loaded.settings, count)
        if forked is None:
            return
        front, load_all = forked.front, reload_settings
        reload_settings = lambda: fronts.loaded_by(load_all(), front)  # noqa: E731
        loaded = fronts.loaded_by(loaded, front)
        if not forked.is_first_start:  # the configuration may have been reloaded since the server's start
            with contextlib.suppress(InvalidConfiguration):
                loaded = with_addresses_of(loaded.settings, reload_settings())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(loaded, reload_settings=reload_settings, on_started=on_started, forked=forked))


def _supervise(settings: Settings, count: int) -> Forked | None:
    """Fork `count` fronts. Like os.fork(), this function returns in each process.

    In a front it returns a Forked immediately. In this process it returns None, when all fronts have ended. Raises
    StartupError, and SystemExit if a front did not start; that front has printed the reason.
    """
    ensure_temporary_folder(data_folder(settings))
    for secret in (session_key, session_seed):
        secret()  # before the forks: all fronts must have the same ones
    public, admin = listening_addresses(settings)
    listeners = tuple(listen(*address) for address in (public, admin) if address is not None)
    _remove_files_beyond(settings, count)
    supervisor = Supervisor(count, listeners)
    forked = supervisor.run()
    if forked is None and supervisor.status:
        raise SystemExit(supervisor.status)
    return forked


def _remove_files_beyond(settings: Settings, count: int) -> None:
    """Remove the files of fronts numbered `count` or more, which are from an earlier start. Ignores errors.

    Only called after the sockets were opened, which shows that no other server runs.
    """
    with contextlib.suppress(OSError):  # the cache is opened later, and reports it
        fronts.remove_files_beyond(settings, count)


async def serve(
    loaded: LoadedSettings,
    *,
    reload_settings: Callable[[], LoadedSettings],
    on_started: Callable[[RunningServer], None],
    forked: Forked | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartupError, and InvalidConfiguration for an invalid host.

    `reload_settings` loads the configuration again, on SIGHUP. `on_started` is called when the server accepts requests.
    `forked` describes this front if there are several.
    """
    stop_tracing = tracing.start()
    try:
        await _run(loaded.settings, reload_settings, on_started, forked)
    finally:
        await asyncio.to_thread(stop_tracing)
    log.info("stopped")


async def _run(
    settings: Settings,
    reload_settings: Callable[[], LoadedSettings],
    on_started: Callable[[RunningServer], None],
    forked: Forked | None,
) -> None:
    front = None if forked is None else forked.front
    public, admin = listening_addresses(settings) if front is None else front.addresses
    if front is None:
        _remove_files_beyond(settings, 1)
    path = socket_path(public[0])
    url = _URL_OVER_SOCKET if path else base_url(*public)
    connections = Connections(str(path) if path else public[1], *connection_limits(settings))
    kept = Kept() if forked is None else _kept_by(forked, settings)
    app = SwappableApp(await Generation.open(settings, url, connections.cut, kept))
    reloads = Reloader(app, reload_settings, settings, url, connections, kept)
    try:
        if kept.siblings is not None:
            kept.siblings.answers = app.generation.server.answers
            await kept.siblings.listen()
        await _serve(app, reloads, settings, connections, public, admin, on_started, forked)
    finally:
        if kept.siblings is not None:
            await kept.siblings.close()
        await reloads.close()


def _kept_by(forked: Forked, settings: Settings) -> Kept:
    """The parts of a front that a reload does not replace, for one of several fronts. Raises StartupError."""
    folder, front = cache_folder(settings), forked.front
    try:
        locks = HostLocks(folder / "renders.lock")
        if not forked.is_first_start:
            fronts.drop_originals(settings, front.number)
    except OSError as error:
        message = f"the cache folder {folder} is not writable: {error.strerror or error}"
        raise StartupError(message, "give another folder with --cache") from error
    kept = Kept(Siblings(front.folder, front.number, front.count), locks)
    hangs = ("cropmark_front_hangs_total", (str(front.number),), float(forked.replaces_hung))
    kept.metrics.read_from(forked, lambda: [hangs])
    return kept


async def _serve(
    front: SwappableApp,
    reloads: Reloader,
    settings: Settings,
    connections: Connections,
    address: tuple[str, int],
    admin: tuple[str, int] | None,
    on_started: Callable[[RunningServer], None],
    forked: Forked | None,
) -> None:
    ensure_temporary_folder(data_folder(settings))
    stop = asyncio.Event()
    _handle_signals(stop, reloads, forked)
    shared = (None, None) if forked is None else (*forked.front.listeners, None)
    public = await HttpServer.start(
        front,
        address,
        connections,
        max_connections=settings.max_connections,
        stall_s=settings.write_timeout_s,
        shared=shared[0],
    )
    operators = None if admin is None else await _start_operators(front, admin, settings.write_timeout_s, shared[1])
    admin_url = "" if admin is None else base_url(*admin)
    if forked is None or (forked.is_first_start and not forked.front.number):
        on_started(RunningServer(front.generation.server, base_url(*address), admin_url))
    if forked is not None:
        forked.report_ready()
        forked.keep_reporting()
    log.info("started", address=base_url(*address), pid=os.getpid())
    ends: set[asyncio.Future[Any]] = {public.listening, asyncio.ensure_future(stop.wait())}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if settings.drain_delay_s and not public.listening.done():
        await _leave(front, stop, settings.drain_delay_s)
    log.info("stopping", requests=front.generation.server.app.requests_in_progress)
    if unfinished := await reloads.drain(settings.shutdown_timeout_s):
        log.warning("stopped before all requests had finished", requests=unfinished)
    await public.stop()
    if operators is not None:
        await operators.stop()


async def _start_operators(
    front: SwappableApp, address: tuple[str, int], stall_s: float, shared: socket.socket | None
) -> HttpServer:
    """Start a second HTTP server on the same event loop, for the admin port."""
    return await HttpServer.start(
        OperatorApp(front),
        address,
        Connections(address[1], 0, lambda _: None, stall_s),
        max_connections=_OPERATOR_CONNECTIONS,
        stall_s=stall_s,
        shared=shared,
    )


def _handle_signals(stop: asyncio.Event, reloads: Reloader, forked: Forked | None) -> None:
    """Stop on SIGTERM and SIGINT, and reload on SIGHUP.

    If there are several fronts, a front ignores SIGTERM and SIGINT. It stops on its supervisor's signal STOP, and when
    the supervisor has ended.
    """
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reloads.begin)
    release_reloads()
    for number in (signal.SIGTERM, signal.SIGINT) if forked is None else (STOP,):
        loop.add_signal_handler(number, stop.set)
    if forked is None:
        return
    lifeline = forked.front.lifeline

    def supervisor_ended() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, supervisor_ended)


async def _leave(front: SwappableApp, stop: asyncio.Event, delay_s: float) -> None:
    """Report not ready at /readyz, but serve requests for `delay_s` seconds. A second signal ends the delay."""
    front.generation.server.app.shutdown.leaving = True
    log.info("not ready, stopping soon", delay_s=delay_s)
    stop.clear()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), delay_s)
