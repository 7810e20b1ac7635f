"""A complete server in the test's own process, for tests that need neither a socket nor a process of their own."""

from __future__ import annotations

import asyncio
import json as json_module
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from cropmark.config.loader import load_settings
from cropmark.server.wiring import Server, open_server
from tests.command import forked_renderers
from tests.web.asgi_client import request
from tests.web.server_process import PATIENCE, TOKEN, WAIT_S

T = TypeVar("T")

ADDRESS = "http://127.0.0.1:8000"


class LocalServer:
    """A server on an event loop in a thread. It has the interface of Running, without its process."""

    address = ADDRESS

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, method: str = "GET") -> httpx.Response:
        """The response to a path, which is sent unchanged."""
        return self._run(self._request(path, headers or {}, method, b""))

    def get_all(self, paths: list[str]) -> list[httpx.Response]:
        """The responses to requests sent at the same time."""

        async def all_of() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self._request(path, {}, "GET", b"") for path in paths)))

        return self._run(all_of())

    def post(self, path: str, *, json: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        body = json_module.dumps(json).encode()
        described = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return self._run(self._request(path, {**described, **(headers or {})}, "POST", body))

    def purge(self, **what: str) -> httpx.Response:
        return self.post("/admin/purge", json=what, headers={"Authorization": f"Bearer {TOKEN}"})

    async def _request(self, path: str, headers: Mapping[str, str], method: str, body: bytes) -> httpx.Response:
        sent = {"host": self.address.removeprefix("http://"), **{name.lower(): text for name, text in headers.items()}}
        raw = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in sent.items()]
        reply = await request(self.server.app, path.encode("latin-1"), method=method, headers=raw, body=body)
        return httpx.Response(reply.status, headers=list(reply.headers), content=reply.body)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)


@contextmanager
def local_server(
    folder: Path | None, *, cache: Path, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[LocalServer]:
    """A started server, configured as `cropmark serve FOLDER --cache CACHE` would be in this environment."""
    values = {"folder": folder, "cache_dir": cache, "renderers": 1}
    overrides = {name: value for name, value in values.items() if value is not None}
    environ = {"CROPMARK_ADMIN_TOKEN": TOKEN, **PATIENCE, **(environment or {})}
    settings = load_settings(config, overrides, environ).settings
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), loop).result(WAIT_S)

    opened = open_server(settings, ADDRESS)
    try:
        with forked_renderers():
            server = run(opened.__aenter__)
            try:
                yield LocalServer(server, loop)
            finally:
                run(lambda: opened.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
