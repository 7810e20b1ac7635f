"""Requests many URLs from a server, so that its caches contain the images before clients request them.

Each URL is requested once for each Accept header, and the bodies are dropped. If the server is overloaded (429, 503), a
request is sent again after the time in Retry-After. A resume file has one line for each successful request.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from cropmark.replay.pace import RateLimiter, for_each, send_until_accepted
from cropmark.runtime.line_file import read_lines

_NO_RESPONSE: Final = "no response"
_CACHE: Final = re.compile(r"(?:^|,\s*)cache;desc=\"?([\w-]+)")


@dataclass(frozen=True, slots=True)
class WarmOptions:
    """The server, the pace and the Accept headers of the requests."""

    server: str
    """The address of the server, without a slash at its end. Empty: each URL is requested from its own host."""
    concurrency: int = 4
    per_s: float | None = None
    """Largest number of requests that start in a second; None: as many as `concurrency` permits."""
    accepts: tuple[str, ...] = ("*/*",)
    """Each URL is requested with each of these Accept headers."""
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class WarmRequest:
    """A request for a URL or a path, with an Accept header."""

    url: str
    accept: str

    @property
    def name(self) -> str:
        """The line for this request in a resume file."""
        return f"{self.url}\t{self.accept}"


@dataclass(frozen=True, slots=True)
class WarmResult:
    """The result of a request. If the server did not respond, `status` is 0 and `reason` has the cause.

    A redirect counts as a failure, because the list must contain the final URLs of the images.
    """

    request: WarmRequest
    status: int
    cache: str
    """The result of the server's cache (`hit-disk`, `miss`); empty if the response does not name it."""
    bytes: int
    reason: str = ""
    retry_after: str = ""
    """The value of the header Retry-After; empty if the response does not have it."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


@dataclass(slots=True)
class WarmSummary:
    """The number of requests for each status and cache result, and all failures."""

    skipped: int = 0
    """Number of requests that are not sent, because the resume file has them from a former run."""
    bytes: int = 0
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[WarmResult] = field(default_factory=list)

    def add(self, result: WarmResult) -> None:
        """Add one result to the counts."""
        self.bytes += result.bytes
        self.counts[str(result.status) if result.status else _NO_RESPONSE, result.cache] += 1
        if not result.is_success:
            self.failures.append(result)


def pending_requests(urls: Iterable[str], accepts: Iterable[str], done: frozenset[str]) -> list[WarmRequest]:
    """The requests for all URLs and Accept headers, in this order, without those with a name in `done`."""
    all_of = (WarmRequest(url, accept) for url in urls for accept in accepts)
    return [request for request in all_of if request.name not in done]


def read_done(path: Path | None) -> frozenset[str]:
    """The names of the requests in a resume file; empty if the file does not exist, or for None. Raises OSError."""
    return frozenset() if path is None else frozenset(read_lines(path))


async def warm(
    requests: Iterable[WarmRequest], options: WarmOptions, report: Callable[[WarmResult], None], done: IO[str] | None
) -> None:
    """Send the requests, and call `report` with each result. Appends each successful request to the file `done`."""
    limiter = RateLimiter(options.per_s)
    connector = TCPConnector(limit=options.concurrency)
    timeout = ClientTimeout(total=options.timeout_s)
    headers = {"User-Agent": "cropmark-warm", "Accept-Encoding": "identity"}
    async with ClientSession(connector=connector, timeout=timeout, headers=headers, auto_decompress=False) as session:

        async def send(request: WarmRequest) -> WarmResult:
            await limiter.wait()
            return await _result(session, request, options.server)

        async def work(request: WarmRequest) -> None:
            result = await send_until_accepted(partial(send, request))
            if done is not None and result.is_success:
                done.write(f"{request.name}\n")
                done.flush()
            report(result)

        await for_each(requests, options.concurrency, work)


async def _result(session: ClientSession, request: WarmRequest, server: str) -> WarmResult:
    url, headers = _target(request, server)
    try:
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            length = 0
            async for piece in response.content.iter_chunked(65_536):
                length += len(piece)
    except (TimeoutError, ClientError, OSError, ValueError) as error:
        return WarmResult(request, 0, "", 0, str(error) or type(error).__name__)
    location = response.headers.get("Location", "")
    reason = f"redirects to {location[:200]}" if location else ""
    retry_after = response.headers.get("Retry-After", "")
    return WarmResult(request, response.status, _cache_result(response), length, reason, retry_after)


def _target(request: WarmRequest, server: str) -> tuple[URL, dict[str, str]]:
    """The URL to send a request to, and the headers of the request.

    If the request goes to another server than the URL's own host, its Host header still has that host, because the
    server finds the site by it.
    """
    headers = {"Accept": request.accept}
    if not server or request.url.startswith("/"):
        return URL(server + request.url, encoded=True), headers
    parts = urlsplit(request.url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    return URL(server + path, encoded=True), {**headers, "Host": parts.netloc.rpartition("@")[2]}


def _cache_result(response: ClientResponse) -> str:
    found = _CACHE.search(response.headers.get("Server-Timing", ""))
    return found[1] if found else ""
