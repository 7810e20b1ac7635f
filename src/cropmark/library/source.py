"""The library as a Source. Lookups are cached in memory, so a cache hit queries no database.

A cached lookup is used while the library's changes are polled: a change by another server or the command line takes
effect here within MAX_FEED_AGE_S. Without polling, every request queries the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cachetools import LRUCache

from cropmark.library import lookup
from cropmark.library.changes import ChangeFeed, ChangeKind
from cropmark.library.lookup import ContentstackUrl, FoundVersion, LookupResult
from cropmark.model.problems import Problem, SourceFailed, SourceNotFound
from cropmark.plan.source import PublishScope, SitePath, SourceRef
from cropmark.ports import OpenSource, SourceVersion
from cropmark.runtime.purge_generations import PurgeGenerations

MAX_PRESENT: Final = 65_536
"""Largest number of cached lookups that found a version; about 500 bytes each."""
MAX_ABSENT: Final = 4096
"""Largest number of cached lookups that failed. A separate, small cache: clients can request any number of paths."""
MAX_FEED_AGE_S: Final = 1.0
"""Cached lookups are used up to this long after the last poll."""


class AssetLookup(Protocol):
    """The calls to a LibraryStore, which block."""

    def find(self, address: lookup.Address, scope: PublishScope | None) -> LookupResult: ...

    def open_file(self, digest: str) -> int: ...


@dataclass(frozen=True, slots=True)
class _CachedLookup:
    """The result of a lookup at the library's clock `n`."""

    n: int
    stack: str
    asset: str
    outcome: FoundVersion | Problem
    version: SourceVersion | None
    key: str = ""


class LibrarySource:
    """Implements ports.Source over assets. apply() must be called with each poll's feed."""

    def __init__(
        self,
        library: AssetLookup,
        threads: Executor,
        openers: Executor,
        clock: Callable[[], float] = time.monotonic,
        *,
        on_key_use: Callable[[str], None] = lambda key: None,
    ) -> None:
        """`threads` run database queries; `openers` open files, which may need a download from a bucket.

        `on_key_use` is called with the id of the key that permitted a delivery.
        """
        self._on_key_use = on_key_use
        self._library = library
        self._threads = threads
        self._openers = openers
        self._clock = clock
        self._present: LRUCache[SitePath, _CachedLookup] = LRUCache(MAX_PRESENT)
        self._absent: LRUCache[SitePath, _CachedLookup] = LRUCache(MAX_ABSENT)
        self._changed: dict[str, int] = {}
        """The library's clock at the last change of an asset or a stack, by uid."""
        self._deleted: LRUCache[str, None] = LRUCache(MAX_ABSENT)
        self._polled_s = -MAX_FEED_AGE_S
        self._purges = PurgeGenerations()

    # ------------------------------------------------------------------------------------------ ports.Source

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        cached = self._cached(ref) if isinstance(ref, SitePath) else None
        if cached is None:
            return None
        if isinstance(cached.outcome, SourceNotFound):
            raise cached.outcome
        # open() raises the other Problems.
        return self._current_version(cached) if cached.version else None

    async def open(self, ref: SourceRef) -> OpenSource:
        if not isinstance(ref, SitePath):
            raise lookup.asset_not_found()
        cached = self._cached(ref) or await self._look_up(ref)
        if cached.version is None or not isinstance(cached.outcome, FoundVersion):
            assert isinstance(cached.outcome, Problem)
            raise cached.outcome
        return await self._open_version(cached.outcome, self._current_version(cached))

    def identity(self, ref: SourceRef) -> str:
        """`library:stack/asset/file`, or the parts of it that the path has."""
        if not isinstance(ref, SitePath):
            raise lookup.asset_not_found()
        cached = self._present.get(ref)
        if cached is not None and isinstance(cached.outcome, FoundVersion):
            return cached.outcome.identity
        return "library:" + ref.path.removeprefix("v3/assets/")

    def purge(self, prefix: str) -> None:
        self._purges.add(prefix)

    async def close(self) -> None:
        """Do nothing: the LibraryService closes the library."""

    # ------------------------------------------------------------------------------------------ feed

    def apply(self, feed: ChangeFeed) -> None:
        """Drop the lookups that the feed's changes concern; the others are valid until the next poll is due."""
        self._polled_s = self._clock()
        if feed.reset:
            self._clear()
        for change in feed.changes:
            self._changed[change.uid or change.stack] = change.n
            if change.kind is ChangeKind.DELETED:
                self._deleted[change.uid] = None
            if change.kind is ChangeKind.KEYS:
                self._clear()  # keys change seldom, and any lookup may depend on one
        if feed.changes:
            self._absent.clear()
        if len(self._changed) > MAX_PRESENT:
            self._clear()
            self._changed.clear()

    def _clear(self) -> None:
        self._present.clear()
        self._absent.clear()

    # ------------------------------------------------------------------------------------------ lookups

    def _cached(self, ref: SitePath) -> _CachedLookup | None:
        cached = self._present.get(ref) or self._absent.get(ref)
        if cached is None:
            return None
        if cached.asset in self._deleted:
            raise lookup.asset_not_found()
        if self._clock() - self._polled_s > MAX_FEED_AGE_S or self._is_older(cached):
            return None
        return cached

    def _is_older(self, cached: _CachedLookup) -> bool:
        return cached.n < self._changed.get(cached.asset, 0) or cached.n < self._changed.get(cached.stack, 0)

    async def _look_up(self, ref: SitePath) -> _CachedLookup:
        address = lookup.read_address(ref.path)
        if address is None:
            raise lookup.asset_not_found()
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._threads, self._library.find, address, ref.scope)
        cached = _to_cache(address, result)
        if not self._is_older(cached):
            cache = self._present if cached.version else self._absent
            cache[ref] = cached
        return cached

    async def _open_version(self, found: FoundVersion, version: SourceVersion) -> OpenSource:
        loop = asyncio.get_running_loop()
        try:
            descriptor = await loop.run_in_executor(self._openers, self._library.open_file, found.digest)
        except OSError as error:
            raise SourceFailed("the asset's bytes cannot be read", fix="run cropmark doctor") from error
        return OpenSource.from_fd(descriptor, found.bytes, version)

    def _current_version(self, cached: _CachedLookup) -> SourceVersion:
        assert cached.version is not None
        if cached.key:
            self._on_key_use(cached.key)
        generation = self._purges.of(cached.version.identity)
        return replace(cached.version, generation=generation) if generation else cached.version


def _to_cache(address: lookup.Address, result: LookupResult) -> _CachedLookup:
    found = result.outcome
    if isinstance(found, FoundVersion):
        version = SourceVersion(found.identity, found.digest, modified_s=found.created_ms / 1000, private=found.private)
        return _CachedLookup(result.n, found.stack, found.asset, found, version, found.key)
    stack = address.stack if isinstance(address, ContentstackUrl) else ""
    return _CachedLookup(result.n, stack, result.asset, found, None)
