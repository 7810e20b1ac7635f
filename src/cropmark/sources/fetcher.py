"""One guarded fetch: redirects, statuses, deadlines, the byte limit, and the first look at the body."""

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

from cropmark.model.formats import SNIFFED_BYTES, sniffed
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
from cropmark.sources.connection import SYSTEM, AddressRefused, NetworkAccess, SystemResolver, session
from cropmark.sources.policy import Policy, Reachability
from cropmark.sources.spool import Spool
from cropmark.sources.urls import joined, origin, refusal

_PIECE = 65_536
_MOVED = frozenset({301, 302, 303, 307, 308})
_UNPACKED = "let the server send it without a Content-Encoding"
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True, slots=True)
class Validators:
    """What a conditional request asks with, for the one URL that gave them."""

    final_url: str
    etag: str | None
    last_modified: str | None

    @property
    def headers(self) -> dict[str, str]:
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in asked.items() if value}


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """What is fetched: a URL, headers for its own origin, and what is known of it already."""

    url: URL
    headers: tuple[tuple[str, str], ...] = ()
    known: Validators | None = None


@dataclass(frozen=True, slots=True)
class OriginResponse:
    """A picture's bytes, or None where those known still hold (304), with the headers that came."""

    final_url: str
    headers: Mapping[str, str]
    body: Spool | None


class Fetcher:
    """Fetches by one Policy. Holds two sessions, so that no connection to an opened place is used for another."""

    def __init__(self, policy: Policy, network: NetworkAccess = SYSTEM) -> None:
        self._policy = policy
        self._network = network
        self._system = SystemResolver() if network.lookup is None else None
        self._sessions: dict[Reachability, aiohttp.ClientSession] = {}
        self._gate = ConcurrencyLimit(policy.at_once, policy.at_once_per_host)

    async def fetch(self, asked: OriginRequest, new_spool: Callable[[], Spool]) -> OriginResponse:
        """The answer to a GET, redirects followed; whoever holds it discards its Spool.

        Raises SourceRefused, SourceMissing, SourceTooLarge, SourceUnusable, SourceFailed, SourceTimeout; Overloaded
        where too many are fetched already. Nothing of the origin's answer is in their words.
        """
        try:
            async with asyncio.timeout(self._policy.total_s):
                return await self._followed(asked, new_spool)
        except TimeoutError as error:
            raise SourceTimeout("the picture's server took too long", fix="try again later") from error
        except aiohttp.ClientError as error:
            if isinstance(getattr(error, "os_error", None), AddressRefused):
                raise refusal() from error
            raise _unread(error) from error
        except OSError as error:
            raise _failed("could not be reached") from error

    async def close(self) -> None:
        """Close all connections."""
        for each in self._sessions.values():
            await each.close()
        if self._system is not None:
            self._system.close()

    async def _followed(self, asked: OriginRequest, new_spool: Callable[[], Spool]) -> OriginResponse:
        url = asked.url
        for _ in range(self._policy.max_redirects + 1):
            way = self._policy.way(url)
            async with self._gate.passed(url.raw_host or "", self._policy.connect_s):
                found = await self._hop(url, way, asked, new_spool)
            if isinstance(found, OriginResponse):
                return found
            if (url.scheme, found.scheme) == ("https", "http"):
                raise refusal()
            url = found
        raise _failed("redirects too often")

    async def _hop(
        self, url: URL, way: Reachability, asked: OriginRequest, new_spool: Callable[[], Spool]
    ) -> OriginResponse | URL:
        """One request: an answer, or where it is said to be."""
        known = asked.known if asked.known is not None and asked.known.final_url == str(url) else None
        own = (*self._policy.headers, *asked.headers)
        headers = dict(own if origin(url) == origin(asked.url) else ())
        headers |= known.headers if known is not None else {}
        async with await self._response(url, way, headers) as response:
            location = response.headers.get("Location")
            if response.status in _MOVED and location is not None:
                return joined(url, location)
            if response.status == HTTPStatus.NOT_MODIFIED and known is not None and known.headers:
                return OriginResponse(str(url), response.headers, None)
            _check_status(response.status)
            return OriginResponse(str(url), response.headers, await self._body(response, new_spool))

    async def _response(self, url: URL, way: Reachability, headers: dict[str, str]) -> aiohttp.ClientResponse:
        client = self._sessions.get(way)
        if client is None:
            lookup = self._network.lookup or cast(SystemResolver, self._system)
            client = self._sessions[way] = session(self._policy, way, self._network, lookup)
        # A header that drips keeps sock_read content; this does not.
        async with asyncio.timeout(self._policy.connect_s + self._policy.first_byte_s):
            return await client.get(url, headers=headers, allow_redirects=False)

    async def _body(self, response: aiohttp.ClientResponse, new_spool: Callable[[], Spool]) -> Spool:
        """The body on disk. Counted after decoding; what Content-Length says can only shorten the wait."""
        limit = self._policy.limit_bytes
        if (response.content_length or 0) > limit:
            raise _too_large(limit)
        head = await _head(response.content)
        if sniffed(head) is None:
            raise SourceUnusable("what the address gives is no picture of a known format")
        spool = new_spool()
        try:
            piece = head
            while piece:
                if spool.bytes + len(piece) > limit:
                    raise _too_large(limit)
                spool.write(piece)
                piece = await response.content.read(_PIECE)
        except BaseException:
            spool.discard()
            raise
        return spool


class ConcurrencyLimit:
    """At most so many fetches at once, and so many of them from one host."""

    def __init__(self, at_once: int, per_host: int) -> None:
        self._all = Semaphore(at_once)
        self._per_host = per_host
        self._hosts: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def passed(self, host: str, wait_s: float) -> AsyncIterator[None]:
        """Waits for a turn. Raises Overloaded where none comes in time."""
        own = self._hosts.get(host)
        if own is None:
            own = self._hosts[host] = Semaphore(self._per_host)
        # The host's turn first: a slow host's queue must not hold turns of all.
        async with _turn(own, wait_s), _turn(self._all, wait_s):
            yield


@asynccontextmanager
async def _turn(semaphore: Semaphore, wait_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(wait_s):
            await semaphore.acquire()
    except TimeoutError as error:
        raise Overloaded("too many pictures are being fetched", fix="try again later", retry_after_s=2) from error
    try:
        yield
    finally:
        semaphore.release()


async def _head(stream: aiohttp.StreamReader) -> bytes:
    try:
        return await stream.readexactly(SNIFFED_BYTES)
    except IncompleteReadError as short:
        return short.partial


def _check_status(status: int) -> None:
    """Raises unless it is 200. The number is for dialects that keep it; no words of the origin pass."""
    if status == HTTPStatus.OK:
        return
    problem: SourceProblem
    if status in _GONE:
        problem = SourceNotFound("the picture's server has nothing at this address", fix="check the address")
    else:
        problem = _failed("did not answer with a picture")
    problem.origin_status = status
    raise problem


def _unread(error: aiohttp.ClientError) -> SourceProblem:
    """Why there is no answer, or none that could be read to its end."""
    if isinstance(error.__cause__, ContentEncodingError) and isinstance(error, aiohttp.ClientPayloadError):
        return BrokenEncoding("what the picture's server sent could not be unpacked", fix=_UNPACKED)
    # aiohttp's parser tells it before there is a response, and by its words alone.
    if isinstance(error, aiohttp.ClientResponseError) and "content-encoding" in error.message:
        return UnknownEncoding("the picture's server packs it in a way that is not read here", fix=_UNPACKED)
    return _failed("could not be reached, or broke off its answer")


def _failed(what: str) -> SourceFailed:
    return SourceFailed(f"the picture's server {what}", fix="check the address, or try again later")


def _too_large(limit_bytes: int) -> SourceTooLarge:
    return SourceTooLarge(
        f"the picture is larger than the {limit_bytes:,} bytes that are fetched", fix="use a smaller one"
    )
