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
from cropmark.web.sending import BodySender, SendLimits
from cropmark.web.site import Sites
from cropmark.web.variant_quota import VariantQuota

Pages = Callable[[Scope, Receive, Send], Awaitable[None]]


class Endpoint(Protocol):
    """Serves URLs that do not name an image, such as those of PixLab's API."""

    def matches(self, host: str, path: str) -> bool:
        """True if this endpoint serves the URL. `host` is a result of host_name(); `path` is percent-encoded."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


@dataclass(slots=True)
class Shutdown:
    """The progress of a server's shutdown: first `leaving`, then `stopping`."""

    stopping: bool = False
    """True while new work is rejected."""
    leaving: bool = False
    """True while the server is not ready, because it will stop, but still accepts work."""


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
    shutdown: Shutdown = field(default_factory=Shutdown)
    endpoints: Sequence[Endpoint] = ()
    client_ip: ClientIp = field(default_factory=ClientIp)
    sender: BodySender = field(default_factory=lambda: BodySender(SendLimits(), ClientIp(), lambda _: None))
    access_log: str = "misses"
    """The requests that are logged: `misses`, `all` or `off`. Logging a memory hit takes longer than serving it."""
    info: bool = False
    """True: `/_info` in front of the path of an image serves the document about it."""
    trace_from_anyone: bool = False
    """True: the trace that any client names in its headers is continued. False: only traces of trusted proxies."""
    production: bool = False
    """True: responses contain no stage times, and no details of internal errors."""
