"""Reloads the configuration: builds a new server from it, and replaces the running server.

The replaced server finishes its requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog

from cropmark.config.errors import InvalidConfiguration
from cropmark.config.loader import LoadedSettings
from cropmark.config.settings import Settings
from cropmark.runtime.connections import Connections
from cropmark.server.errors import StartupError
from cropmark.server.kept import Kept
from cropmark.server.listening import with_addresses_of
from cropmark.server.policies import client_ip
from cropmark.server.wiring import Server, open_server
from cropmark.web.request import Receive, Scope, Send
from cropmark.web.sending import CutConnection

log = structlog.get_logger("cropmark.server")

REPLACED_TIMEOUT_S = 30.0
"""Seconds that requests have to finish on a server that a reload has replaced."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A server built from the configuration at one time, and the stack that closes it. A reload makes a new one."""

    server: Server
    stack: AsyncExitStack

    @classmethod
    async def open(cls, settings: Settings, url: str, cut: CutConnection, kept: Kept | None = None) -> Generation:
        stack = AsyncExitStack()
        return cls(await stack.enter_async_context(open_server(settings, url, cut, kept)), stack)


class SwappableApp:
    """The ASGI app of the HTTP server. It passes requests to `generation`, which a reload replaces."""

    # Granian copies the app's __dict__, so the first generation would stay in memory.
    __slots__ = ("generation",)

    def __init__(self, generation: Generation) -> None:
        self.generation = generation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.generation.server.app(scope, receive, send)


class OperatorApp:
    """The ASGI app of the admin port: the operators' pages of the current generation."""

    __slots__ = ("_front",)

    def __init__(self, front: SwappableApp) -> None:
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            server = self._front.generation.server
            with server.app.counted():
                await server.operator_pages(scope, receive, send)


class Reloader:
    """Replaces the running server on SIGHUP by a new server, built from the current configuration.

    If the new server cannot be built, the running server is not replaced. Reloads run one after the other. A signal
    during a reload causes another reload, because the configuration may have changed since it was read. A replaced
    server finishes its requests in the background and is then closed. So a slow request does not delay a reload
    (docs/decisions/0190).
    """

    def __init__(
        self,
        front: SwappableApp,
        reload_settings: Callable[[], LoadedSettings],
        started: Settings,
        listening: str,
        connections: Connections,
        kept: Kept | None = None,
    ) -> None:
        self._front = front
        self._kept = kept
        self._connections = connections
        self._started = started
        """The settings with which the server has started."""
        self._listening = listening
        self._reload_settings = reload_settings
        self._is_requested = False
        self._task: asyncio.Task[None] | None = None
        self._replaced: dict[asyncio.Task[None], Generation] = {}
        """Replaced generations that still finish their requests, by the task that closes each."""
        self._closing = asyncio.Event()

    def begin(self) -> None:
        self._is_requested = True
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._reload_while_requested())

    async def _reload_while_requested(self) -> None:
        while self._is_requested and not self._closing.is_set():
            self._is_requested = False
            await self._reload()

    async def _reload(self) -> None:
        try:
            loaded = self._reload_settings()
            settings = with_addresses_of(self._started, loaded).settings
            fresh = await Generation.open(settings, self._listening, self._connections.cut, self._kept)
        except (InvalidConfiguration, StartupError) as error:
            log.error("reload failed, the configuration is unchanged", reason=str(error))  # noqa: TRY400 - an expected error needs no traceback
            return
        except Exception:
            log.exception("reload failed, the configuration is unchanged")
            return
        replaced, self._front.generation = self._front.generation, fresh
        if self._kept is not None and self._kept.siblings is not None:
            self._kept.siblings.answers = fresh.server.answers
        self._connections.configure(*connection_limits(settings))
        closing = asyncio.ensure_future(self._finish(replaced))
        self._replaced[closing] = replaced
        closing.add_done_callback(self._replaced.pop)
        log.info("reloaded")
        if settings != loaded.settings:
            log.warning("the new host or port takes effect at the next start", listening=self._listening)

    async def _finish(self, generation: Generation) -> None:
        """Close a replaced generation when its requests have finished, or after REPLACED_TIMEOUT_S."""
        app = generation.server.app
        waits = [asyncio.ensure_future(app.drain(REPLACED_TIMEOUT_S)), asyncio.ensure_future(self._closing.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if app.requests_in_progress:
            log.warning("requests from before a reload did not finish", requests=app.requests_in_progress)
        try:
            await generation.stack.aclose()
        except Exception:
            log.exception("a replaced server did not close")

    async def drain(self, timeout_s: float) -> int:
        """Reject new work, and wait until the requests of all generations have finished.

        Returns the number of requests that still run after `timeout_s`.
        """
        apps = [generation.server.app for generation in (self._front.generation, *self._replaced.values())]
        await asyncio.gather(*(app.drain(timeout_s) for app in apps))
        return sum(app.requests_in_progress for app in apps)

    async def close(self) -> None:
        """Close all generations."""
        self._closing.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._replaced, return_exceptions=True)
        await self._front.generation.stack.aclose()


def connection_limits(settings: Settings) -> tuple[int, Callable[[str], str | None], float]:
    return settings.max_connections_per_client, client_ip(settings).of_peer, settings.write_timeout_s
