"""The library as a Source. Lookups are cached in memory, so a cache hit needs no database query.

LookupCache has the rules for using a cached lookup. A request without a valid cached lookup queries the database. Such
a request fails immediately while the database is known not to respond.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final, Protocol

from cropmark.library import lookup
from cropmark.library.database import TIMEOUT_S, database_unavailable
from cropmark.library.lookup import ContentstackUrl, FoundVersion, LookupResult
from cropmark.library.lookup_cache import STALE_S, CachedLookup, LookupCache
from cropmark.model.problems import DatabaseUnavailable, Problem, SourceFailed, SourceNotFound
from cropmark.plan.source import PublishScope, SitePath, SourceRef
from cropmark.ports import OpenSource, SourceVersion
from cropmark.runtime.purge_generations import PurgeGenerations

STALE_WAIT_S: Final = 1.0
"""Time limit of a query if a stale lookup can be used instead."""


class AssetLookup(Protocol):
    """The methods of LibraryStore that LibrarySource calls. They block."""

    def find(self, address: lookup.Address, scope: PublishScope | None) -> LookupResult: ...

    def open_file(self, digest: str) -> int: ...


class LibrarySource:
    """A ports.Source for the library's assets. LibraryService reports the result of each poll to `lookups`."""

    def __init__(
        self,
        library: AssetLookup,
        threads: Executor,
        openers: Executor,
        clock: Callable[[], float] = time.monotonic,
        *,
        on_key_use: Callable[[str], None] = lambda key: None,
        stale_s: float = STALE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`threads` run database queries. `openers` open files, which may be downloaded from a bucket.

        `on_key_use` is called with the id of the API key that permitted a delivery. `timeout_s` limits a query.
        """
        self._on_key_use = on_key_use
        self._library = library
        self._threads = threads
        self._openers = openers
        self._timeout_s = timeout_s
        self.lookups = LookupCache(clock, stale_s)
        self.rejected = 0
        """Number of lookups that failed because the database did not respond."""
        self._purges = PurgeGenerations()

    # ------------------------------------------------------------------------------------------ ports.Source

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        cached = self.lookups.get(ref) if isinstance(ref, SitePath) else None
        if cached is None:
            return None
        if isinstance(cached.outcome, SourceNotFound):
            raise cached.outcome
        # open() raises the other Problems.
        return self._current_version(cached) if cached.version else None

    async def open(self, ref: SourceRef) -> OpenSource:
        if not isinstance(ref, SitePath):
            raise lookup.asset_not_found()
        cached = self.lookups.get(ref) or await self._look_up(ref)
        if cached.version is None or not isinstance(cached.outcome, FoundVersion):
            assert isinstance(cached.outcome, Problem)
            raise cached.outcome
        return await self._open_version(cached.outcome, self._current_version(cached))

    def identity(self, ref: SourceRef) -> str:
        """The identity of an asset's file: `library:stack/asset/file` if a lookup of this path is cached.

        Without a cached lookup: `library:` and the path without `v3/assets/`.
        """
        if not isinstance(ref, SitePath):
            raise lookup.asset_not_found()
        return self.lookups.identity(ref) or "library:" + ref.path.removeprefix("v3/assets/")

    def purge(self, prefix: str) -> None:
        self._purges.add(prefix)

    async def close(self) -> None:
        """Do nothing: the LibraryService closes the library."""

    # ------------------------------------------------------------------------------------------ lookups

    async def _look_up(self, ref: SitePath) -> CachedLookup:
        """Look up the asset in the database. If the database does not respond, returns a stale cached lookup.

        Raises DatabaseUnavailable if no cached lookup may be used. Raises SourceNotFound for a path of another form.
        """
        address = lookup.read_address(ref.path)
        if address is None:
            raise lookup.asset_not_found()
        stale = self.lookups.stale(ref)
        try:
            limit_s = self._timeout_s if stale is None else min(self._timeout_s, STALE_WAIT_S)
            result = await self._query(address, ref.scope, limit_s)
        except DatabaseUnavailable:
            if stale is None:
                self.rejected += 1
                raise
            self.lookups.stale_uses += 1
            return stale
        found = _to_cache(address, result)
        self.lookups.put(ref, found)
        return found

    async def _query(self, address: lookup.Address, scope: PublishScope | None, limit_s: float) -> LookupResult:
        if not self.lookups.reachable:
            raise database_unavailable()
        query = asyncio.get_running_loop().run_in_executor(self._threads, self._library.find, address, scope)
        try:
            return await asyncio.wait_for(query, limit_s)
        except TimeoutError as error:
            raise database_unavailable() from error

    async def _open_version(self, found: FoundVersion, version: SourceVersion) -> OpenSource:
        loop = asyncio.get_running_loop()
        try:
            descriptor = await loop.run_in_executor(self._openers, self._library.open_file, found.digest)
        except OSError as error:
            raise SourceFailed("the asset's bytes cannot be read", fix="run cropmark doctor") from error
        return OpenSource.from_fd(descriptor, found.bytes, version, found.media_type)

    def _current_version(self, cached: CachedLookup) -> SourceVersion:
        assert cached.version is not None
        if cached.key:
            self._on_key_use(cached.key)
        generation = self._purges.of(cached.version.identity)
        return replace(cached.version, generation=generation) if generation else cached.version


def _to_cache(address: lookup.Address, result: LookupResult) -> CachedLookup:
    found = result.outcome
    if isinstance(found, FoundVersion):
        version = SourceVersion(found.identity, found.digest, modified_s=found.created_ms / 1000, private=found.private)
        return CachedLookup(result.n, found.stack, found.asset, found, version, found.key)
    stack = address.stack if isinstance(address, ContentstackUrl) else ""
    return CachedLookup(result.n, stack, result.asset, found, None)
