"""The pages on their own: their failures are logged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import structlog

from cropmark.runtime.metrics import Metrics
from cropmark.web.admin import AdminContext, pages
from cropmark.web.site import Sites


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


async def test_a_purge_by_tag_is_rejected() -> None:
    """No rendition has a tag of the caller's, so such a purge would always report 0."""
    unused: Any = None
    context = AdminContext(Sites([]), unused, unused, Metrics(), failing_readiness, admin_token="token")
    transport = httpx.ASGITransport(pages(context))
    async with httpx.AsyncClient(transport=transport, base_url="http://img.example") as client:
        reply = await client.post("/admin/purge", json={"tag": "a"}, headers={"Authorization": "Bearer token"})
    assert (reply.status_code, "url, source or prefix" in reply.json()["detail"]) == (400, True)
