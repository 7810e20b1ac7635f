"""Stored results behind their links: no key is needed to read one, its id is all there is to know."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from cropmark.dialects.responses import json_answer
from cropmark.model.formats import TRAITS
from cropmark.model.problems import Overloaded
from cropmark.ports import ResultStore, StoredResult
from cropmark.runtime.metrics import Metrics
from cropmark.web import response
from cropmark.web.request import Receive, Scope, Send, request_id
from cropmark.web.response import INERT, RawHeaders
from cropmark.web.site import Sites

_PATH = re.compile(r"/media/([A-Za-z0-9_-]{16,64})\.[a-z]{3,4}")
_UNENDING_S = 365 * 86_400


@dataclass(frozen=True, slots=True)
class ResultUrls:
    """The addresses of stored results: `base` is the server's own, `https://img.example`, no slash at its end."""

    base: str

    def of(self, kept: StoredResult) -> str:
        """Where a result is served."""
        return f"{self.base}/media/{kept.id}.{TRAITS[kept.format].extension}"

    def id_in(self, link: str) -> str | None:
        """The id in a link that was told once, perhaps by another base; None: it is no link of ours."""
        try:
            found = _PATH.search(urlsplit(link).path)
        except ValueError:
            return None
        return found[1] if found else None

    @property
    def host(self) -> str:
        return urlsplit(self.base).hostname or ""


class ResultDownloads:
    """The door of stored results, at /media/{id}.{extension}; where a site of another host has such a path, it wins."""

    def __init__(
        self,
        results: ResultStore,
        links: ResultUrls,
        sites: Sites,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._results = results
        self._links = links
        self._sites = sites
        self._metrics = metrics
        self._clock = clock

    def matches(self, host: str, path: str) -> bool:
        """Whether the path may be that of a result."""
        if _PATH.fullmatch(path) is None:
            return False
        return host == self._links.host or self._sites.find(host, path) is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = await self._answered(scope, send)
        self._metrics.requests.labels("media", str(status), "none").inc()

    async def _answered(self, scope: Scope, send: Send) -> int:
        if scope["method"] not in ("GET", "HEAD"):
            return await _refused(send, 405, "expected GET or HEAD")
        path = scope["raw_path"].decode("latin-1")
        try:
            found = await self._results.open(self._links.id_in(path) or "")
        except Overloaded as problem:
            return await _refused(send, problem.status, problem.detail)
        if found is None:
            return await _refused(send, 404, "there is no such result, or none any more")
        kept, opened = found
        try:
            headers = self._headers(kept)
            if _etag(kept).encode() in _header(scope, b"if-none-match"):
                await response.send_whole(send, 304, headers)
                return 304
            headers.append((b"content-length", b"%d" % kept.bytes))
            if scope["method"] == "HEAD":
                await response.send_whole(send, 200, headers)
            else:
                await response.send_file(send, headers, opened)
        finally:
            opened.close()
        return 200

    def _headers(self, kept: StoredResult) -> RawHeaders:
        rest = _UNENDING_S if kept.expires_s is None else max(0, int(kept.expires_s - self._clock()))
        return response.raw(
            (
                ("content-type", TRAITS[kept.format].media_type),
                ("cache-control", f"public, max-age={rest}"),
                ("etag", _etag(kept)),
                ("content-security-policy", INERT),
                ("x-content-type-options", "nosniff"),
                ("cross-origin-resource-policy", "cross-origin"),
                ("access-control-allow-origin", "*"),
                ("x-request-id", request_id()),
            )
        )


def _etag(kept: StoredResult) -> str:
    return f'"{kept.id}"'  # an id never stands for other bytes


def _header(scope: Scope, name: bytes) -> bytes:
    return b",".join(value for found, value in scope["headers"] if found == name)


async def _refused(send: Send, status: int, error: str) -> int:
    answer = json_answer(status, {"status": status, "error": error})
    headers = response.raw(
        (
            ("content-type", answer.media_type),
            ("content-length", str(len(answer.body))),
            ("cache-control", "no-store"),
            ("content-security-policy", INERT),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "cross-origin"),
            ("x-request-id", request_id()),
            *((("allow", "GET, HEAD"),) if status == 405 else ()),
        )
    )
    await response.send_whole(send, status, headers, answer.body)
    return status
