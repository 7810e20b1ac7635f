"""The library as a Source. What an address stands for is kept in memory: a hit asks no database.

What is known is used while the news of the library are heard: at most a second after another server, or the command
line, changed something, it is known here. Without news nothing is believed, and every request asks the database.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, Protocol

from cachetools import LRUCache

from cropmark.library import lookup
from cropmark.library.changes import ChangeFeed, ChangeKind
from cropmark.library.lookup import ContentstackUrl, FoundVersion, LookupResult
from cropmark.model.problems import Problem, SourceFailed, SourceNotFound
from cropmark.plan.source import PublishScope, SitePath, SourceRef
from cropmark.ports import OpenSource, SourceVersion, purge_matches

REMEMBERED: Final = 65_536
"""Addresses that are known; about 500 bytes each."""
ABSENT: Final = 4096
"""Addresses that are known to have nothing. Fewer, and apart: anybody can think of some."""
TRUSTED_S: Final = 1.0
"""How old the news may be."""
_PURGES: Final = 1024


class LibraryRequest(Protocol):
    """What is asked of the library, in threads."""

    def find(self, address: lookup.Address, edition: PublishScope | None) -> LookupResult: ...

    def open_file(self, digest: str) -> int: ...


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer as it was when the clock of the library stood at `n`."""

    n: int
    stack: str
    asset: str
    outcome: FoundVersion | Problem
    stamp: SourceVersion | None
    key: str = ""


class LibrarySource:
    """Implements ports.Source over assets. `learn` must be called with the news, again and again."""

    def __init__(
        self,
        asked: LibraryRequest,
        threads: Executor,
        openers: Executor,
        clock: Callable[[], float] = time.monotonic,
        *,
        used: Callable[[str], None] = lambda key: None,
    ) -> None:
        """`openers` wait for bytes, which may come from far away; `threads` for the database.

        `used` is told the ids of keys that something was had by.
        """
        self._used = used
        self._asked = asked
        self._threads = threads
        self._openers = openers
        self._clock = clock
        self._present: LRUCache[SitePath, _Known] = LRUCache(REMEMBERED)
        self._absent: LRUCache[SitePath, _Known] = LRUCache(ABSENT)
        self._changed: dict[str, int] = {}
        """When an asset or a stack changed last, by the library's clock."""
        self._gone: LRUCache[str, None] = LRUCache(ABSENT)
        self._heard_s = -TRUSTED_S
        self._generation = 0
        self._purged: Counter[str] = Counter()

    # ------------------------------------------------------------------------------------------ ports.Source

    def stat(self, where: SourceRef) -> SourceVersion | None:
        known = self._known(where) if isinstance(where, SitePath) else None
        if known is None:
            return None
        if isinstance(known.outcome, SourceNotFound):
            raise known.outcome
        # A Problem of another kind is open()'s to raise.
        return self._stamped(known) if known.stamp else None

    async def open(self, where: SourceRef) -> OpenSource:
        if not isinstance(where, SitePath):
            raise lookup.missing()
        known = self._known(where) or await self._found(where)
        if known.stamp is None or not isinstance(known.outcome, FoundVersion):
            assert isinstance(known.outcome, Problem)
            raise known.outcome
        return await self._opened(known.outcome, self._stamped(known))

    def identity(self, where: SourceRef) -> str:
        """`library:stack/asset/file`; for an address that names less, as much as it names."""
        if not isinstance(where, SitePath):
            raise lookup.missing()
        known = self._present.get(where)
        if known is not None and isinstance(known.outcome, FoundVersion):
            return known.outcome.identity
        return "library:" + where.path.removeprefix("v3/assets/")

    def purge(self, named: str) -> None:
        if len(self._purged) >= _PURGES:
            self._generation += sum(self._purged.values())
            self._purged.clear()
        self._purged[named] += 1

    async def close(self) -> None:
        """Nothing: whoever opened the library closes it."""

    # ------------------------------------------------------------------------------------------ news

    def apply(self, news: ChangeFeed) -> None:
        """Forget what the news are about, and believe the rest for another while."""
        self._heard_s = self._clock()
        if news.whole:
            self._forget()
        for change in news.changes:
            self._changed[change.uid or change.stack] = change.n
            if change.kind is ChangeKind.GONE:
                self._gone[change.uid] = None
            if change.kind is ChangeKind.KEYS:
                self._forget()  # a token may have come or gone; this is seldom
        if news.changes:
            self._absent.clear()
        if len(self._changed) > REMEMBERED:
            self._forget()
            self._changed.clear()

    def _forget(self) -> None:
        self._present.clear()
        self._absent.clear()

    # ------------------------------------------------------------------------------------------ what is known

    def _known(self, where: SitePath) -> _Known | None:
        known = self._present.get(where) or self._absent.get(where)
        if known is None:
            return None
        if known.asset in self._gone:
            raise lookup.missing()
        if self._clock() - self._heard_s > TRUSTED_S or self._is_older(known):
            return None
        return known

    def _is_older(self, known: _Known) -> bool:
        return known.n < self._changed.get(known.asset, 0) or known.n < self._changed.get(known.stack, 0)

    async def _found(self, where: SitePath) -> _Known:
        address = lookup.read_address(where.path)
        if address is None:
            raise lookup.missing()
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._asked.find, address, where.scope)
        answered = await asked
        known = _known(address, answered)
        if not self._is_older(known):
            table = self._present if known.stamp else self._absent
            table[where] = known
        return known

    async def _opened(self, found: FoundVersion, stamp: SourceVersion) -> OpenSource:
        loop = asyncio.get_running_loop()
        try:
            descriptor = await loop.run_in_executor(self._openers, self._asked.open_file, found.digest)
        except OSError as error:
            raise SourceFailed("the asset's bytes cannot be read", fix="run cropmark doctor") from error
        return _handed(descriptor, found.bytes, stamp)

    def _stamped(self, known: _Known) -> SourceVersion:
        assert known.stamp is not None
        if known.key:
            self._used(known.key)
        if not self._purged and not self._generation:
            return known.stamp
        stamp = known.stamp
        count = self._generation + sum(n for named, n in self._purged.items() if purge_matches(named, stamp.identity))
        return SourceVersion(stamp.identity, stamp.version, count, stamp.modified_s, private=stamp.private)


def _known(address: lookup.Address, answered: LookupResult) -> _Known:
    found = answered.found
    if isinstance(found, FoundVersion):
        stamp = SourceVersion(found.identity, found.digest, modified_s=found.created_ms / 1000, private=found.private)
        return _Known(answered.n, found.stack, found.asset, found, stamp, found.key)
    stack = address.stack if isinstance(address, ContentstackUrl) else ""
    return _Known(answered.n, stack, answered.asset, found, None)


def _handed(descriptor: int, length: int, stamp: SourceVersion) -> OpenSource:
    # FileIO closes once: the number may be another file's by the second time.
    return OpenSource(descriptor, length, stamp, io.FileIO(descriptor).close)
