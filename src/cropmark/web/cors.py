"""Adds CORS headers for a site's allowed origins, and Cross-Origin-Resource-Policy.

Sources: https://fetch.spec.whatwg.org/#http-cors-protocol, https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RawHeaders = list[tuple[bytes, bytes]]

ORIGIN: Final = "origin"
_ALLOW: Final = b"access-control-allow-origin"
_POLICY: Final = b"cross-origin-resource-policy"


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """The origins of web pages that may read a site's responses or embed its images."""

    origins: tuple[str, ...] | None = None
    """Allowed origins; `*` allows every origin. None: the dialect's own CORS header is sent, if it has one."""
    resource_policy: str = "cross-origin"
    """The value of the header: `cross-origin`, `same-site` or `same-origin`; empty: the header is not sent."""

    @property
    def by_origin(self) -> bool:
        """True if the response depends on the request's Origin."""
        return bool(self.origins) and "*" not in (self.origins or ())

    def apply(self, headers: RawHeaders, origin: str) -> RawHeaders:
        """The response headers with this policy's headers added. `origin` is the request's Origin.

        A policy with a list of origins replaces the CORS header of the dialect.
        """
        result = headers
        if self.origins is not None:
            result = [(name, value) for name, value in headers if name != _ALLOW]
            if "*" in self.origins:
                result.append((_ALLOW, b"*"))
            elif self.by_origin:
                result = _vary_by_origin(result)
                if origin in self.origins:
                    result.append((_ALLOW, origin.encode("ascii")))
        if self.resource_policy:
            result = [*result, (_POLICY, self.resource_policy.encode("ascii"))]
        return result


def _vary_by_origin(headers: RawHeaders) -> RawHeaders:
    """The headers with Origin added to Vary."""
    names = [value for name, value in headers if name == b"vary"]
    return [*((n, v) for n, v in headers if n != b"vary"), (b"vary", b", ".join([*names, b"Origin"]))]
