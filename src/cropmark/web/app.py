"""The ASGI app: passes requests to hit.py, counts those in progress, and drains before the server stops.

request ─hit.py: memo─▶ Order ─▶ pipeline.peek ─▶ cache hit: sent
                 │                     └─ cache miss ─▶ miss.py: pipeline.deliver ─▶ sent
                 └─ first request of this URL ─▶ miss.py: an endpoint, a page, or a site's dialect reads the Order
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from cropmark.web.deps import AppDeps
from cropmark.web.hit import HitPath
from cropmark.web.miss import MissPath
from cropmark.web.request import Receive, Scope, Send
from cropmark.web.respond import Responder
from cropmark.web.tracing import traced


class App:
    """The ASGI app. Serves the images of all sites, the endpoints, and pages for all other paths."""

    def __init__(self, deps: AppDeps) -> None:
        responder = Responder(deps)
        respond = HitPath(deps, responder, MissPath(deps, responder)).respond
        self._respond = traced(respond, deps.client_ip, from_anyone=deps.trace_from_anyone)
        self._in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.shutdown = deps.shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self._in_progress += 1
        try:
            await self._respond(scope, receive, send)
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._idle.set()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request to the admin port as in progress, so that drain() waits for it.

        __call__ counts the requests to the public port without this context manager, which is faster.
        """
        self._in_progress += 1
        try:
            yield
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._idle.set()

    async def drain(self, timeout_s: float) -> bool:
        """Reject new work and wait for the requests in progress. Returns False if some still run after `timeout_s`."""
        self.shutdown.stopping = True
        if not self._in_progress:
            return True
        self._idle.clear()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    @property
    def requests_in_progress(self) -> int:
        return self._in_progress
