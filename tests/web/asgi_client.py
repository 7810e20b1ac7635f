"""A client that calls the app in the test's own process, and a pipeline that renders nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from cropmark.dialects.fastly.dialect import Fastly
from cropmark.model.problems import SourceNotFound
from cropmark.pipeline import Delivered, RequestContext, fingerprint_of
from cropmark.plan.plan import Order
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.ports import OpenSource, Record, Rendition, Source, SourceVersion
from cropmark.runtime.metrics import Metrics
from cropmark.security.rate_limit import MemoryLimiter
from cropmark.web.app import App
from cropmark.web.deps import AppDeps
from cropmark.web.request import Receive, Scope, Send
from cropmark.web.routing import Mount
from cropmark.web.site import Site, Sites
from cropmark.web.variant_quota import VariantQuota


class NoSource:
    """A source that has a version for every path, but no bytes."""

    def stat(self, where: SitePath | WebUrl | UploadRef) -> SourceVersion:
        return SourceVersion(self.identity(where), "1")

    async def open(self, where: SitePath | WebUrl | UploadRef) -> OpenSource:
        raise SourceNotFound("this source has no bytes")

    def identity(self, where: SitePath | WebUrl | UploadRef) -> str:
        assert isinstance(where, SitePath)
        return f"files:{where.path}"

    def purge(self, named: str) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""


@dataclass
class FakePipeline:
    """Delivers the same small image for every order, and records the requests."""

    record: Record = field(default_factory=lambda: Record("image/jpeg", '"etag"', 3))
    always_hit: bool = False
    """True: every request is a cache hit."""
    orders: list[Order] = field(default_factory=list)
    tags: list[tuple[str, ...]] = field(default_factory=list)
    clients: list[str | None] = field(default_factory=list)
    fails_with: Exception | None = None

    def fingerprint_of(self, order: Order) -> str:
        return fingerprint_of(order)

    def peek(self, source: Source, order: Order, fingerprint: str) -> tuple[Rendition, str] | None:
        return (Rendition(b"jpg", record=self.record), "memory") if self.always_hit else None

    async def deliver(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        for admit in (context.admit, context.admit_render):
            if admit is not None:
                await admit()
        if self.fails_with is not None:
            raise self.fails_with
        self.orders.append(order)
        self.tags.append(context.tags)
        self.clients.append(context.client)
        return Delivered(self.record, b"jpg", "miss")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only value of a header; None if it is absent."""
        found = [value for key, value in self.headers if key == name.encode()]
        assert len(found) <= 1, (name, found)
        return found[0].decode() if found else None


def app_of(pipeline: FakePipeline, *, site: Site | None = None, **more: Any) -> App:
    """The app with one site; by default Fastly's at /fastly."""
    limiter = MemoryLimiter()
    deps = AppDeps(
        sites=Sites([site or fastly()]),
        pipeline=pipeline,  # type: ignore[arg-type]  # implements only the methods that the app calls
        limiter=limiter,
        metrics=Metrics(),
        pages=_no_pages,
        variant_quota=VariantQuota(limiter),
        access_log="off",
    )
    return App(replace(deps, **more))


def fastly(**more: Any) -> Site:
    return Site("fastly", Fastly(), NoSource(), Mount("/fastly"), **more)


def respond(
    app: App,
    target: bytes,
    *,
    method: str = "GET",
    headers: Sequence[tuple[bytes, bytes]] = (),
    client: tuple[str, int] | None = ("192.0.2.1", 4000),
) -> Reply:
    """The response to one request for img.example; `target` is the path and query, unchanged."""
    sent = [(b"host", b"img.example"), *headers]
    return asyncio.run(request(app, target, method=method, headers=sent, client=client))


async def request(
    app: App,
    target: bytes,
    *,
    method: str = "GET",
    headers: Sequence[tuple[bytes, bytes]],
    client: tuple[str, int] | None = ("192.0.2.1", 4000),
    body: bytes = b"",
) -> Reply:
    """The response to one request. The client stays connected until then."""
    path, _, query = target.partition(b"?")
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "headers": list(headers),
        "client": client,
    }
    messages = iter([{"type": "http.request", "body": body}])
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        message = next(messages, None)
        return message if message is not None else await asyncio.Event().wait()

    await app(scope, receive, send)
    return Reply(sent[0]["status"], tuple(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:]))


async def _no_pages(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})
