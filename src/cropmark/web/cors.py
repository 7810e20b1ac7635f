"""Who else may use a site's answers: CORS by a list of origins, and Cross-Origin-Resource-Policy.

Sources: https://fetch.spec.whatwg.org/#http-cors-protocol, https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RawHeaders = list[tuple[bytes, bytes]]

ORIGIN: Final = "origin"
_ALLOW: Final = b"access-control-allow-origin"
_POLICY: Final = b"cross-origin-resource-policy"
_METHODS: Final = b"GET, HEAD, OPTIONS"


@dataclass(frozen=True, slots=True)
class CorsPolicy:
    """Which pages of other origins may read a site's answers, and which may show them."""

    origins: tuple[str, ...] | None = None
    """None: as the dialect's service does it. `*` is every origin, an empty tuple none."""
    resource_policy: str = "cross-origin"
    """`cross-origin`, `same-site` or `same-origin`; empty: no such header."""

    @property
    def by_origin(self) -> bool:
        """Whether the answer depends on the request's Origin."""
        return bool(self.origins) and "*" not in (self.origins or ())

    def apply(self, headers: RawHeaders, origin: str) -> RawHeaders:
        """An answer's headers with what this says, in place of what the dialect says. `origin` is the request's."""
        told = headers
        if self.origins is not None:
            told = [(name, value) for name, value in headers if name != _ALLOW]
            if "*" in self.origins:
                told.append((_ALLOW, b"*"))
            elif self.by_origin:
                told = _varied(told)
                if origin in self.origins:
                    told.append((_ALLOW, origin.encode("ascii")))
        if self.resource_policy:
            told = [*told, (_POLICY, self.resource_policy.encode("ascii"))]
        return told

    def preflight(self, origin: str) -> RawHeaders:
        """The answer to a browser that asks before it reads from another origin."""
        headers: RawHeaders = [
            (b"server", b"cropmark"),
            (b"allow", _METHODS),
            (_ALLOW, b"*"),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", b"86400"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", b"0"),
        ]
        return self.apply(headers, origin)


def _varied(headers: RawHeaders) -> RawHeaders:
    """With Origin among what the answer varies by."""
    names = [value for name, value in headers if name == b"vary"]
    return [*((n, v) for n, v in headers if n != b"vary"), (b"vary", b", ".join([*names, b"Origin"]))]
