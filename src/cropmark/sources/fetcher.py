"""Fetches URLs under a Policy: follows redirects, and checks status, timeouts, byte limit and file signature."""

from __future__ import annotations

import asyncio
from asyncio import IncompleteReadError
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from cropmark.model.formats import SNIFF_BYTES
from cropmark.model.problems import (
    BrokenEncoding,
    SourceFailed,
    SourceForbidden,
    SourceNotFound,
    SourceProblem,
    SourceTimeout,
    UnknownEncoding,
)
from cropmark.runtime import tracing
from cropmark.sources.connection import SYSTEM, AddressRefused, NetworkAccess, SystemResolver, new_session
from cropmark.sources.policy import Policy, Reachability
from cropmark.sources.spool import Spool
from cropmark.sources.transfer import BodyRules, ConcurrencyLimit, NewSpool, OriginResponse, Validators, spool_body
from cropmark.sources.urls import forbidden_address, origin, redirect_target

_PIECE_BYTES = 65_536
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SEND_UNENCODED = "let the server send it without a Content-Encoding"
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """A request for a URL.

    `headers` are sent only to the URL's own origin, not to another origin after a redirect. `validators` belong to the
    stored original.
    """

    url: URL
    headers: tuple[tuple[str, str], ...] = ()
    validators: Validators | None = None


class Fetcher:
    """Fetches URLs under one Policy.

    Each Reachability has a separate session, so that a request that may reach only public addresses never reuses a
    connection to a private host.
    """

    def __init__(self, policy: Policy, network: NetworkAccess = SYSTEM) -> None:
        self._policy = policy
        self._network = network
        self._system_resolver = SystemResolver() if network.lookup is None else None
        self._sessions: dict[Reachability, aiohttp.ClientSession] = {}
        self._concurrency = ConcurrencyLimit(policy.max_fetches, policy.max_fetches_per_host)

    async def fetch(self, request: OriginRequest, new_spool: NewSpool) -> OriginResponse:
        """Send a GET request, follow redirects, and return the response. The caller discards the Spool in the response.

        Raises SourceForbidden, SourceNotFound, SourceTooLarge, SourceUnusable, SourceFailed or SourceTimeout, and
        Overloaded if too many fetches are in progress. The error texts contain nothing from the origin's response.
        """
        try:
            async with asyncio.timeout(self._policy.total_s):
                return await self._follow(request, new_spool)
        except SourceForbidden as error:
            raise self._refused() from error
        except TimeoutError as error:
            raise SourceTimeout("the image's server took too long", fix="try again later") from error
        except aiohttp.ClientError as error:
            if isinstance(getattr(error, "os_error", None), AddressRefused):
                raise self._refused() from error
            raise _transfer_problem(error) from error
        except OSError as error:
            raise _failed("could not be reached") from error

    def _refused(self) -> SourceProblem:
        """The Problem for a redirect or an address that the policy does not allow."""
        return forbidden_address() if self._policy.chosen_by_client else _failed("is at an address that is not allowed")

    async def close(self) -> None:
        """Close all connections."""
        for each in self._sessions.values():
            await each.close()
        if self._system_resolver is not None:
            self._system_resolver.close()

    async def _follow(self, request: OriginRequest, new_spool: NewSpool) -> OriginResponse:
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
        self, url: URL, reachability: Reachability, request: OriginRequest, new_spool: NewSpool
    ) -> OriginResponse | URL:
        """Send one request. Returns the response, or the target of a redirect."""
        known = request.validators
        validators = known if known is not None and known.final_url == str(url) else None
        own_headers = (*self._policy.headers, *request.headers)
        headers = dict(own_headers if origin(url) == origin(request.url) else ())
        headers |= validators.headers if validators is not None else {}
        if not self._policy.chosen_by_client and origin(url) == origin(request.url):
            headers |= tracing.outgoing_headers()
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

    async def _body(self, response: aiohttp.ClientResponse, name: str, new_spool: NewSpool) -> Spool:
        """Write the body to a file. `name` is the file name in the requested URL.

        The limit counts decoded bytes. A Content-Length above the limit is rejected before reading.
        """
        rules = BodyRules(self._policy.limit_bytes, self._policy.images_only)
        rules.check_length(response.content_length or 0)
        return await spool_body(_pieces(response.content), name, rules, new_spool)


async def _pieces(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yields the body in pieces. The first piece has SNIFF_BYTES, or is the whole body."""
    try:
        piece = await stream.readexactly(SNIFF_BYTES)
    except IncompleteReadError as short:
        piece = short.partial
    while piece:
        yield piece
        piece = await stream.read(_PIECE_BYTES)


def _check_status(status: int) -> None:
    """Raise a SourceProblem for any status except 200. The Problem's `origin_status` is that status."""
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
    """The Problem for a response that is missing or incomplete, or that cannot be decoded."""
    if isinstance(error.__cause__, ContentEncodingError) and isinstance(error, aiohttp.ClientPayloadError):
        return BrokenEncoding("the Content-Encoding of the image's server could not be decoded", fix=_SEND_UNENCODED)
    # aiohttp's parser raises this before there is a response; only the text identifies it.
    if isinstance(error, aiohttp.ClientResponseError) and "content-encoding" in error.message:
        return UnknownEncoding("the image's server uses a Content-Encoding that is not supported", fix=_SEND_UNENCODED)
    return _failed("could not be reached, or closed the connection early")


def _failed(what: str) -> SourceFailed:
    return SourceFailed(f"the image's server {what}", fix="check the URL, or try again later")
