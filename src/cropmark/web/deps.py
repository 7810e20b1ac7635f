"""The objects that the app is built from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cropmark.pipeline import Pipeline
from cropmark.ports import Limiter
from cropmark.runtime.metrics import Metrics
from cropmark.web.client_ip import ClientIp
from cropmark.web.request import Receive, Scope, Send
from cropmark.web.site import Sites
from cropmark.web.variant_quota import VariantQuota

Pages = Callable[[Scope, Receive, Send], Awaitable[None]]


class Endpoint(Protocol):
    """Serves paths that do not name an image, such as PixLab's endpoints."""

    def matches(self, host: str, path: str) -> bool:
        """True if this endpoint serves the URL. `host` as host_name() returns it, `path` percent-encoded."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


@dataclass(frozen=True, slots=True)
class AppDeps:
    """The app's dependencies and settings."""

    sites: Sites
    pipeline: Pipeline
    limiter: Limiter
    metrics: Metrics
    pages: Pages
    """Serves all paths that no endpoint and no site serves."""
    variant_quota: VariantQuota
    endpoints: Sequence[Endpoint] = ()
    client_ip: ClientIp = field(default_factory=ClientIp)
    access_log: str = "misses"
    """`misses`, `all` or `off`. Logging a memory hit takes longer than serving it."""
    production: bool = False
    """True: responses contain no stage times, and no details of internal errors."""
