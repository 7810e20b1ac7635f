"""The pages on their own: their failures are logged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from cropmark.runtime.metrics import Metrics
from cropmark.sources.uploads import TemporaryUploads
from cropmark.web import body_reader
from cropmark.web.admin import pages
from cropmark.web.admin_context import AdminContext
from cropmark.web.request import Message
from cropmark.web.site import Sites
from tests.web.asgi_client import fastly


def failing_readiness() -> Mapping[str, Any]:
    raise RuntimeError("the pool is broken")


async def test_a_page_that_fails_is_logged() -> None:
    unused: Any = None
    app = pages(
        AdminContext(Sites([]), pipeline=unused, renderers=unused, metrics=Metrics(), readiness=failing_readiness)
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://img.example") as client:
        with structlog.testing.capture_logs() as logs:
            reply = await client.get("/readyz")
    assert (reply.status_code, reply.json()["detail"]) == (500, "internal server error; see the server log")
    (entry,) = logs
    assert (entry["event"], entry["log_level"], entry["path"]) == ("a page failed", "error", "/readyz")
    assert str(entry["exc_info"]) == "the pool is broken"


async def test_a_purge_of_an_unknown_kind_is_rejected() -> None:
    unused: Any = None
    context = AdminContext(Sites([]), unused, unused, Metrics(), failing_readiness, admin_token="token")
    transport = httpx.ASGITransport(pages(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://img.example") as client:
        reply = await client.post("/admin/purge", json={"word": "a"}, headers={"Authorization": "Bearer token"})
    assert (reply.status_code, "url, source, prefix, tag or all" in reply.json()["detail"]) == (400, True)


# fmt: off
TOKENS = [
    # method  path            token       status
    ("GET",   "/metrics",     None,       401),
    ("GET",   "/metrics",     "other",    401),
    ("GET",   "/metrics",     "admin",    200),
    ("GET",   "/metrics",     "metrics",  200),
    ("GET",   "/%6Detrics",   "admin",    404),  # proxies do not block this path
    ("POST",  "/admin/purge", "metrics",  401),
    ("GET",   "/_explain",    "metrics",  401),
]
# fmt: on


@pytest.mark.parametrize(("method", "path", "token", "status"), TOKENS)
async def test_the_token_of_the_metrics_reads_nothing_else(
    method: str, path: str, token: str | None, status: int
) -> None:
    unused: Any = None
    context = AdminContext(
        Sites([]),
        unused,
        unused,
        Metrics(),
        failing_readiness,
        admin_token="admin",
        metrics_token="metrics",
        development=False,
    )
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pages(context)), base_url="http://a.example") as client:
        assert (await client.request(method, path, headers=headers)).status_code == status


async def test_the_metrics_need_one_token_only() -> None:
    unused: Any = None
    context = AdminContext(
        Sites([]), unused, unused, Metrics(), failing_readiness, metrics_token="metrics", development=False
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pages(context)), base_url="http://a.example") as client:
        assert (await client.get("/metrics", headers={"Authorization": "Bearer metrics"})).status_code == 200
        assert (await client.get("/metrics")).status_code == 404


# fmt: off
BODIES = [
    # path                                                  the client        status
    ("/_sign-in",                                           "stalls",         400),
    ("/_sign-in",                                           "leaves",         499),
    ("/_sign-in",                                           "sends too much", 400),
    ("/admin/purge",                                        "stalls",         400),
    ("/admin/purge",                                        "leaves",         499),
    ("/admin/purge",                                        "sends too much", 400),
    ("/_playground/render?url=/fastly/a.jpg?width=9",       "stalls",         400),
    ("/_playground/render?url=/fastly/a.jpg?width=9",       "leaves",         499),
    ("/_playground/render?url=/fastly/a.jpg?width=9",       "sends too much", 413),
]
# fmt: on


@pytest.mark.parametrize(("path", "client", "status"), BODIES)
async def test_every_body_has_limits(
    path: str, client: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_reader, "IDLE_S", 0.05)
    unused: Any = None
    uploads = TemporaryUploads(tmp_path)
    context = AdminContext(
        Sites([fastly()]), unused, unused, Metrics(), failing_readiness, admin_token="admin", uploads=uploads
    )
    bodies: dict[str, list[Message]] = {
        "stalls": [{"type": "http.request", "body": b"t", "more_body": True}],
        "leaves": [{"type": "http.request", "body": b"t", "more_body": True}, {"type": "http.disconnect"}],
        "sends too much": [{"type": "http.request", "body": bytes(52 * 2**20), "more_body": True}],
    }
    messages = bodies[client]
    sent: list[Message] = []

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    raw, _, query = path.partition("?")
    scope = {"type": "http", "method": "POST", "path": raw, "raw_path": raw.encode(), "query_string": query.encode()}
    headers = [(b"host", b"a.example"), (b"authorization", b"Bearer admin")]
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(5):
            await pages(context)({**scope, "headers": headers, "client": ("192.0.2.1", 1)}, receive, send)
    assert (sent[0]["status"], logs, uploads._bytes) == (status, [], 0)


async def test_a_client_cannot_name_its_own_scheme() -> None:
    unused: Any = None
    context = AdminContext(Sites([]), unused, unused, Metrics(), failing_readiness, admin_token="admin")
    headers = {"X-Forwarded-Proto": "https"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(pages(context)), base_url="http://a.example") as client:
        reply = await client.post("/_sign-in", data={"token": "admin"}, headers=headers)
    assert (reply.status_code, "secure" in reply.headers["set-cookie"].lower()) == (303, False)
