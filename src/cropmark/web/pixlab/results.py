"""Serves the downloads of stored results. A download needs no key, because the id in its URL is a secret."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from cropmark.dialects.responses import json_response
from cropmark.model.formats import TRAITS
from cropmark.model.problems import Overloaded
from cropmark.ports import ResultStore, StoredResult
from cropmark.runtime.metrics import Metrics
from cropmark.web import response
from cropmark.web.cors import RawHeaders
from cropmark.web.request import (
    CLIENT_CLOSED_REQUEST,
    ClientDisconnected,
    Receive,
    Scope,
    Send,
    request_id,
)
from cropmark.web.routing import Mount
from cropmark.web.sending import BodySender
from cropmark.web.site import Sites

_PATH = re.compile(r"/media/([A-Za-z0-9_-]{16,64})\.[a-z]{3,4}")
_MOUNT = Mount("/media", paths=re.compile(r"[A-Za-z0-9_-]{16,64}\.[a-z]{3,4}\Z"))
_MAX_AGE_S = 365 * 86_400


@dataclass(frozen=True, slots=True)
class ResultUrls:
    """Writes and reads the URLs of stored results.

    `base` is the server's own URL without a trailing slash, such as `https://img.example`.
    """

    base: str

    def url(self, result: StoredResult) -> str:
        """The URL of a result."""
        return f"{self.base}/media/{result.id}.{TRAITS[result.format].extension}"

    def id_from(self, link: str) -> str | None:
        """The id in the URL of a result; None for any other URL. The scheme and the host are ignored."""
        try:
            found = _PATH.search(urlsplit(link).path)
        except ValueError:
            return None
        return found[1] if found else None

    @property
    def host(self) -> str:
        return urlsplit(self.base).hostname or ""


class ResultDownloads:
    """Serves stored results at /media/{id}.{extension}.

    On a host other than the server's own, a site that serves such a path takes precedence.
    """

    def __init__(
        self,
        results: ResultStore,
        result_urls: ResultUrls,
        sites: Sites,
        metrics: Metrics,
        sender: BodySender,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._results = results
        self._result_urls = result_urls
        self._sites = sites
        self._metrics = metrics
        self._sender = sender
        self._clock = clock

    def matches(self, host: str, path: str) -> bool:
        if _MOUNT.rest(host, path) is None:
            return False
        return host == self._result_urls.host or self._sites.find(host, path) is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        status = await self._respond(scope, send)
        self._metrics.count_request("media", "media", status, "none", time.perf_counter() - started_s)

    async def _respond(self, scope: Scope, send: Send) -> int:
        if scope["method"] not in ("GET", "HEAD"):
            return await _send_error(send, 405, "expected GET or HEAD")
        path = scope["raw_path"].decode("latin-1")
        try:
            found = await self._results.open(self._result_urls.id_from(path) or "")
        except Overloaded as problem:
            return await _send_error(send, problem.status, problem.detail)
        if found is None:
            return await _send_error(send, 404, "result not found, or expired")
        result, opened = found
        try:
            headers = self._headers(result)
            if _etag(result).encode() in _header(scope, b"if-none-match"):
                await response.send_response(send, 304, headers)
                return 304
            headers.append((b"content-length", b"%d" % result.bytes))
            if scope["method"] == "HEAD":
                await response.send_response(send, 200, headers)
            else:
                await self._sender.send_file(scope, send, headers, opened)
        except Overloaded as problem:
            return await _send_error(send, problem.status, problem.detail)
        except ClientDisconnected:
            return CLIENT_CLOSED_REQUEST
        finally:
            opened.close()
        return 200

    def _headers(self, result: StoredResult) -> RawHeaders:
        ttl_s = _MAX_AGE_S if result.expires_s is None else max(0, int(result.expires_s - self._clock()))
        return response.encode_headers(
            (
                ("content-type", TRAITS[result.format].media_type),
                ("cache-control", f"public, max-age={ttl_s}"),
                ("etag", _etag(result)),
                *response.PUBLIC_SECURITY,
                ("access-control-allow-origin", "*"),
                ("x-request-id", request_id()),
            )
        )


def _etag(result: StoredResult) -> str:
    return f'"{result.id}"'  # the bytes of an id never change


def _header(scope: Scope, name: bytes) -> bytes:
    return b",".join(value for found, value in scope["headers"] if found == name)


async def _send_error(send: Send, status: int, error: str) -> int:
    reply = json_response(status, {"status": status, "error": error})
    headers = response.encode_headers(
        (
            ("content-type", reply.media_type),
            ("content-length", str(len(reply.body))),
            ("cache-control", "no-store"),
            *response.PUBLIC_SECURITY,
            ("x-request-id", request_id()),
            *((("allow", "GET, HEAD"),) if status == 405 else ()),
        )
    )
    await response.send_response(send, status, headers, reply.body)
    return status
