"""A guarded fetch: follows redirects, and enforces status, timeouts, the byte limit and an image signature."""

from __future__ import annotations

import asyncio
from asyncio import IncompleteReadError, Semaphore
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast
from weakref import WeakValueDictionary

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from cropmark.model.formats import SNIFF_BYTES, sniff_format
from cropmark.model.media_types import media_type_of
from cropmark.model.problems import (
    BrokenEncoding,
    Overloaded,
    SourceFailed,
    SourceNotFound,
    SourceProblem,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
    UnknownEncoding,
)
from cropmark.sources.connection import SYSTEM, AddressRefused, NetworkAccess, SystemResolver, new_session
from cropmark.sources.policy import Policy, Reachability
from cropmark.sources.spool import Spool
from cropmark.sources.urls import forbidden_address, origin, redirect_target

_PIECE_BYTES = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SEND_UNENCODED = "let the server send it without a Content-Encoding"
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a conditional request, valid only for the URL of the response that contained them."""

    final_url: str
    etag: str | None
    last_modified: str | None

    @property
    def headers(self) -> dict[str, str]:
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """A URL to fetch, headers that only its own origin receives, and validators of a stored original."""

    url: URL
    headers: tuple[tuple[str, str], ...] = ()
    validators: Validators | None = None


@dataclass(frozen=True, slots=True)
class OriginResponse:
    """The response of the final URL. `body` None: 304, the stored original is still current."""

    final_url: str
    headers: Mapping[str, str]
    body: Spool | None


class Fetcher:
    """Fetches by one Policy. Each Reachability has its own session: a connection to a private host is not reused."""

    def __init__(self, policy: Policy, network: NetworkAccess = SYSTEM) -> None:
        self._policy = policy
        self._network = network
        self._system_resolver = SystemResolver() if network.lookup is None else None
        self._sessions: dict[Reachability, aiohttp.ClientSession] = {}
        self._concurrency = ConcurrencyLimit(policy.max_fetches, policy.max_fetches_per_host)

    async def fetch(self, request: OriginRequest, new_spool: Callable[[], Spool]) -> OriginResponse:
        """The response to a GET after redirects. The caller discards its Spool.

        Raises SourceForbidden, SourceNotFound, SourceTooLarge, SourceUnusable, SourceFailed or SourceTimeout, and
        Overloaded if too many fetches are in progress. Their texts contain nothing of the origin's response.
        """
        try:
            async with asyncio.timeout(self._policy.total_s):
                return await self._follow(request, new_spool)
        except TimeoutError as error:
            raise SourceTimeout("the image's server took too long", fix="try again later") from error
        except aiohttp.ClientError as error:
            if isinstance(getattr(error, "os_error", None), AddressRefused):
                raise forbidden_address() from error
            raise _transfer_problem(error) from error
        except OSError as error:
            raise _failed("could not be reached") from error

    async def close(self) -> None:
        """Close all connections."""
        for each in self._sessions.values():
            await each.close()
        if self._system_resolver is not None:
            self._system_resolver.close()

    async def _follow(self, request: OriginRequest, new_spool: Callable[[], Spool]) -> OriginResponse:
        url = request.url
        for _ in range(self._policy.max_redirects + 1):
            reachability = self._policy.reachability(url)
            async with self._concurrency.slot(url.raw_host or "", self._policy.connect_s):
                result = await self._request(url, reachability, request, new_spool)
            if isinstance(result, OriginResponse):
                return result
            if (url.scheme, result.scheme) == ("https", "http"):
                raise forbidden_address()
            url = result
        raise _failed("redirects too often")

    async def _request(
        self, url: URL, reachability: Reachability, request: OriginRequest, new_spool: Callable[[], Spool]
    ) -> OriginResponse | URL:
        """One request: its response, or the target of a redirect."""
        known = request.validators
        validators = known if known is not None and known.final_url == str(url) else None
        own_headers = (*self._policy.headers, *request.headers)
        headers = dict(own_headers if origin(url) == origin(request.url) else ())
        headers |= validators.headers if validators is not None else {}
        async with await self._send(url, reachability, headers) as response:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location is not None:
                return redirect_target(url, location)
            if response.status == HTTPStatus.NOT_MODIFIED and validators is not None and validators.headers:
                return OriginResponse(str(url), response.headers, None)
            _check_status(response.status)
            return OriginResponse(str(url), response.headers, await self._body(response, request.url.name, new_spool))

    async def _send(self, url: URL, reachability: Reachability, headers: dict[str, str]) -> aiohttp.ClientResponse:
        client = self._sessions.get(reachability)
        if client is None:
            lookup = self._network.lookup or cast(SystemResolver, self._system_resolver)
            client = self._sessions[reachability] = new_session(self._policy, reachability, self._network, lookup)
        # Headers that arrive byte by byte never exceed sock_read; this timeout covers them all.
        async with asyncio.timeout(self._policy.connect_s + self._policy.first_byte_s):
            return await client.get(url, headers=headers, allow_redirects=False)

    async def _body(self, response: aiohttp.ClientResponse, name: str, new_spool: Callable[[], Spool]) -> Spool:
        """The body in a file; `name` is that of the requested file.

        The limit counts decoded bytes; a large Content-Length is rejected before reading.
        """
        limit = self._policy.limit_bytes
        if (response.content_length or 0) > limit:
            raise _too_large(limit)
        head = await _head(response.content)
        if sniff_format(head) is None and (self._policy.images_only or media_type_of(name, head) is None):
            raise SourceUnusable("the response is not an image of a supported format")
        spool = new_spool()
        try:
            piece = head
            while piece:
                if spool.bytes + len(piece) > limit:
                    raise _too_large(limit)
                spool.write(piece)
                piece = await response.content.read(_PIECE_BYTES)
        except BaseException:
            spool.discard()
            raise
        return spool


class ConcurrencyLimit:
    """Limits the number of concurrent fetches, in total and per host."""

    def __init__(self, total: int, per_host: int) -> None:
        self._all = Semaphore(total)
        self._per_host = per_host
        self._hosts: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, host: str, wait_s: float) -> AsyncIterator[None]:
        """Waits up to `wait_s` for a free slot. Raises Overloaded."""
        host_slots = self._hosts.get(host)
        if host_slots is None:
            host_slots = self._hosts[host] = Semaphore(self._per_host)
        # The host's slot first: requests that wait for a slow host must not occupy slots of all hosts.
        async with _acquired(host_slots, wait_s), _acquired(self._all, wait_s):
            yield


@asynccontextmanager
async def _acquired(semaphore: Semaphore, wait_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(wait_s):
            await semaphore.acquire()
    except TimeoutError as error:
        raise Overloaded("too many images are being fetched", fix="try again later", retry_after_s=2) from error
    try:
        yield
    finally:
        semaphore.release()


async def _head(stream: aiohttp.StreamReader) -> bytes:
    try:
        return await stream.readexactly(SNIFF_BYTES)
    except IncompleteReadError as short:
        return short.partial


def _check_status(status: int) -> None:
    """Raises unless the status is 200. Dialects may repeat the number; the origin's text is not passed on."""
    if status == HTTPStatus.OK:
        return
    problem: SourceProblem
    if status in _GONE:
        problem = SourceNotFound("the image's server has nothing at this URL", fix="check the URL")
    else:
        problem = _failed("did not respond with an image")
    problem.origin_status = status
    raise problem


def _transfer_problem(error: aiohttp.ClientError) -> SourceProblem:
    """The problem of a response that is missing, incomplete or cannot be decoded."""
    if isinstance(error.__cause__, ContentEncodingError) and isinstance(error, aiohttp.ClientPayloadError):
        return BrokenEncoding("the Content-Encoding of the image's server could not be decoded", fix=_SEND_UNENCODED)
    # aiohttp's parser raises this before there is a response; only the text identifies it.
    if isinstance(error, aiohttp.ClientResponseError) and "content-encoding" in error.message:
        return UnknownEncoding("the image's server uses a Content-Encoding that is not supported", fix=_SEND_UNENCODED)
    return _failed("could not be reached, or closed the connection early")


def _failed(what: str) -> SourceFailed:
    return SourceFailed(f"the image's server {what}", fix="check the URL, or try again later")


def _too_large(limit_bytes: int) -> SourceTooLarge:
    return SourceTooLarge(f"the image is larger than the limit of {limit_bytes:,} bytes", fix="use a smaller one")
