"""Builds the endpoints of the management API of the library."""

from __future__ import annotations

from collections.abc import Iterator

from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.server.components import Components
from cropmark.server.library import management_mounts
from cropmark.server.policies import client_ip
from cropmark.web.deps import Shutdown
from cropmark.web.management.endpoint import ManagementContext, ManagementEndpoint


def management_endpoints(parts: Components, shutdown: Shutdown) -> Iterator[ManagementEndpoint]:
    """One endpoint for each mount of the management API; empty if the server has no library."""
    if parts.library is None:
        return
    settings = parts.settings
    context = ManagementContext(
        library=parts.library,
        renderers=parts.pool,
        limiter=parts.limiter,
        metrics=parts.metrics,
        client_ip=client_ip(settings),
        base_url=parts.base_url,
        shutdown=shutdown,
        max_upload_bytes=settings.max_upload_bytes,
        organization=settings.section(ContentstackSettings).organization,
        requests_per_s=settings.management_requests_per_s,
        strict_environments=settings.strict_environments,
        access_log=settings.access_log != "off",
    )
    for mount in management_mounts(settings):
        yield ManagementEndpoint(context, mount=mount)
