"""Serves images from the web: stored originals, and fetches that a Policy allows.

A stored original is used only under the Policy under which it was fetched. So a source never serves an original that
only the Policy of another source allows.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial

from cachetools import LRUCache
from yarl import URL

from cropmark.model.problems import SourceNotFound
from cropmark.plan.source import SourceRef, WebUrl
from cropmark.ports import OpenSource, SourceVersion
from cropmark.sources.connection import SYSTEM, NetworkAccess
from cropmark.sources.fetcher import Fetcher, OriginRequest
from cropmark.sources.freshness import DEFAULT_BOUNDS, LifetimeBounds
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import Policy, forwardable
from cropmark.sources.remote import MAX_FAILURES, OnFetch, RemoteOriginals, Target, ignore_fetch
from cropmark.sources.transfer import NewSpool, OriginResponse, Validators
from cropmark.sources.urls import loggable_origin, read_url

_MAX_TARGETS = 4096


class WebSource:
    """The Source of images on the web, which WebUrls name.

    Raises the Problems of ports.Source, SourceUnusable for a response that is not an image, and Overloaded if too many
    fetches are in progress.
    """

    def __init__(
        self,
        policy: Policy,
        originals: OriginalCache,
        *,
        bounds: LifetimeBounds = DEFAULT_BOUNDS,
        network: NetworkAccess = SYSTEM,
        clock: Callable[[], float] = time.time,
        max_failures: int = MAX_FAILURES,
        on_fetch: OnFetch = ignore_fetch,
    ) -> None:
        """`max_failures` limits the number of failed fetches that are remembered."""
        self._policy = policy
        self._scope = policy.scope
        self._remote = RemoteOriginals(
            originals, bounds=bounds, clock=clock, max_failures=max_failures, on_fetch=on_fetch
        )
        self._fetcher = Fetcher(policy, network)
        self._targets: LRUCache[WebUrl, Target] = LRUCache(_MAX_TARGETS)

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        """The version of a stored original that may be used now, or None.

        Raises SourceForbidden, and SourceNotFound after a recent 404.
        """
        return self._remote.stat(self._target(ref))

    async def open(self, ref: SourceRef) -> OpenSource:
        """Open the stored original, or fetch it first."""
        return await self._remote.open(self._target(ref))

    def identity(self, ref: SourceRef) -> str:
        """The identity of an image: `web:https://host/path`. Raises SourceForbidden.

        If headers of the client are forwarded, `#` and a digest of these headers are appended.
        """
        url, headers = self._read(_web_url(ref))
        return _identity(url, headers)

    def purge(self, prefix: str) -> None:
        """Remove the originals, failures and shared responses that `prefix` covers.

        The responses of fetches in progress are sent but not stored.
        """
        self._remote.purge(prefix)

    async def close(self) -> None:
        """Stop all fetches and close all connections."""
        await self._remote.close()
        await self._fetcher.close()

    def _target(self, ref: SourceRef) -> Target:
        web_url = _web_url(ref)
        target = self._targets.get(web_url)
        if target is None:
            url, headers = self._read(web_url)
            self._policy.reachability(url)
            identity = _identity(url, headers)
            key = hashlib.sha256(f"{self._scope} {identity}".encode()).hexdigest()
            fetch = partial(self._fetch, url, headers)
            target = self._targets[web_url] = Target(identity, key, loggable_origin(url), fetch)
        return target

    def _read(self, web_url: WebUrl) -> tuple[URL, tuple[tuple[str, str], ...]]:
        return read_url(web_url.url), forwardable(self._policy, web_url.headers)

    async def _fetch(
        self, url: URL, headers: tuple[tuple[str, str], ...], known: Validators | None, new_spool: NewSpool
    ) -> OriginResponse:
        return await self._fetcher.fetch(OriginRequest(url, headers, known), new_spool)


def _web_url(ref: SourceRef) -> WebUrl:
    if not isinstance(ref, WebUrl):
        raise SourceNotFound("this source fetches images by URL only", fix="name the image by its URL")
    return ref


def _identity(url: URL, headers: tuple[tuple[str, str], ...]) -> str:
    # read_url() removes fragments, so no other URL has this identity.
    suffix = f"#{hashlib.sha256(repr(headers).encode()).hexdigest()[:16]}" if headers else ""
    return f"web:{url}{suffix}"
