"""Builds the endpoints of the management API, over the library."""

from __future__ import annotations

from collections.abc import Iterator

from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.server.components import Components
from cropmark.server.library import management_mounts
from cropmark.server.policies import rate_limiter
from cropmark.web.app import App
from cropmark.web.management.endpoint import ManagementContext, ManagementEndpoint


def management_endpoints(parts: Components, app: App) -> Iterator[ManagementEndpoint]:
    """An endpoint for each mount of the API; none without a library."""
    if parts.library is None:
        return
    settings = parts.settings
    context = ManagementContext(
        library=parts.library,
        renderers=parts.pool,
        limiter=rate_limiter(settings),
        metrics=parts.metrics,
        base_url=parts.base_url,
        stopping=lambda: app.stopping,
        max_upload_bytes=settings.max_upload_bytes,
        organization=settings.section(ContentstackSettings).organization,
        requests_per_s=settings.management_requests_per_s,
        strict_environments=settings.strict_environments,
        access_log=settings.access_log != "off",
    )
    for mount in management_mounts(settings):
        yield ManagementEndpoint(context, mount=mount)
