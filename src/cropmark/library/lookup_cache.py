"""Caches lookups in memory, and decides when a cached lookup may be used without a database query.

Rules:
- While polls succeed, a lookup is valid until a change of its asset or stack is received. It is never used later than
  MAX_FEED_AGE_S after the last poll.
- While the database does not respond, a lookup is valid for `stale_s` after the last poll. It is invalid if its asset
  has changed or a scheduled unpublishing is due.
- A change of keys, or a gap in the received changes, invalidates every lookup that began before.
- The uids of deleted assets are stored, so that a render in progress does not store a rendition of a deleted asset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from cropmark.library import lookup
from cropmark.library.changes import ChangeFeed
from cropmark.library.database import Change, ChangeKind
from cropmark.library.lookup import FoundVersion
from cropmark.model.problems import Problem
from cropmark.plan.source import SitePath
from cropmark.ports import SourceVersion

MAX_PRESENT: Final = 65_536
"""Largest number of cached lookups that found a version; about 500 bytes each."""
MAX_ABSENT: Final = 4096
"""Largest number of cached lookups that failed. They have a small cache of their own: clients can request any path."""
MAX_FEED_AGE_S: Final = 1.0
"""While the database responds, cached lookups are used for at most this time after the last poll."""
STALE_S: Final = 300.0
"""Default time for which cached lookups are used while the database does not respond."""


@dataclass(frozen=True, slots=True)
class CachedLookup:
    """The result of a lookup that began when the library's clock had the value `n`.

    `key` is the id of the API key that permits the delivery, or empty.
    """

    n: int
    stack: str
    asset: str
    outcome: FoundVersion | Problem
    version: SourceVersion | None
    key: str = ""


class LookupCache:
    """Caches lookups by path and scope.

    The owner calls apply() with the changes of each successful poll, and poll_failed() after a failed poll.
    """

    def __init__(self, clock: Callable[[], float], stale_s: float = STALE_S) -> None:
        self._clock = clock
        self._stale_s = stale_s
        self._present: LRUCache[SitePath, CachedLookup] = LRUCache(MAX_PRESENT)
        self._absent: LRUCache[SitePath, CachedLookup] = LRUCache(MAX_ABSENT)
        self._changed: dict[str, int] = {}
        """The library's clock at the last change of an asset or a stack, by uid."""
        self._oldest_n = 0
        """Lookups that began at a lower value of the library's clock are invalid."""
        self._deleted: LRUCache[str, None] = LRUCache(MAX_ABSENT)
        self._unpublished_s: dict[str, float] = {}
        """The time of each asset's next scheduled unpublishing, by uid."""
        self._polled_s = -MAX_FEED_AGE_S
        self.reachable = True
        """False from a failed poll to the next successful poll."""
        self.stale_uses = 0
        """Number of lookups that were used while the database did not respond."""

    @property
    def feed_age_s(self) -> float:
        """Time since the last successful poll."""
        return self._clock() - self._polled_s

    @property
    def expired(self) -> bool:
        """True if the database does not respond and the last poll is older than `stale_s`.

        No cached lookup may be used then.
        """
        return not self.reachable and self.feed_age_s > self._stale_s

    # ------------------------------------------------------------------------------------------ use

    def get(self, ref: SitePath) -> CachedLookup | None:
        """The cached lookup; None if it is absent or may not be used now. Raises SourceNotFound for a deleted asset."""
        cached = self._present.get(ref) or self._absent.get(ref)
        if cached is None:
            return None
        if cached.asset in self._deleted:
            raise lookup.asset_not_found()
        if self.feed_age_s <= MAX_FEED_AGE_S:
            return None if self._is_older(cached) else cached
        if self.reachable or not self._is_valid_when_stale(cached):
            return None
        self.stale_uses += 1
        return cached

    def stale(self, ref: SitePath) -> CachedLookup | None:
        """The cached lookup if it may be used after a failed database query; else None."""
        cached = self._present.get(ref) or self._absent.get(ref)
        return cached if cached and self._is_valid_when_stale(cached) else None

    def identity(self, ref: SitePath) -> str | None:
        """The identity of the version at this path, if a lookup that found a version is cached; else None."""
        cached = self._present.get(ref)
        return cached.outcome.identity if cached and isinstance(cached.outcome, FoundVersion) else None

    def put(self, ref: SitePath, found: CachedLookup) -> None:
        """Cache a lookup, unless its asset or stack has changed since the lookup began."""
        if not self._is_older(found):
            cache = self._present if found.version else self._absent
            cache[ref] = found

    def _is_valid_when_stale(self, cached: CachedLookup) -> bool:
        if self.feed_age_s > self._stale_s or self._is_older(cached) or cached.asset in self._deleted:
            return False
        return self._clock() < self._unpublished_s.get(cached.asset, math.inf)

    def _is_older(self, cached: CachedLookup) -> bool:
        changed = self._changed
        return cached.n < max(self._oldest_n, changed.get(cached.asset, 0), changed.get(cached.stack, 0))

    # ------------------------------------------------------------------------------------------ changes

    def apply(self, feed: ChangeFeed) -> None:
        """Apply the changes of a poll: invalidate the lookups of changed assets, stacks and keys.

        All other lookups stay valid until the next poll.
        """
        self._polled_s = self._clock()
        self.reachable = True
        self._oldest_n = min(self._oldest_n, feed.n)  # a change of keys by this process may have been rolled back
        if feed.reset:
            self._clear(feed.n)
        if feed.unpublishing_in_ms is not None:
            self._unpublished_s = {uid: self._polled_s + ms / 1000 for uid, ms in feed.unpublishing_in_ms.items()}
        for change in feed.changes:
            if change.kind is ChangeKind.DELETED:
                self._deleted[change.uid] = None
        self.mark_changed(feed.changes)

    def mark_changed(self, changes: Iterable[Change]) -> None:
        """Invalidate the lookups of changed assets, stacks and keys. The changes may not be committed yet."""
        for change in changes:
            self._changed[change.uid or change.stack] = change.n
            if change.kind is ChangeKind.KEYS:
                self._clear(change.n)  # keys change seldom, and any lookup may depend on one
            self._absent.clear()
        if len(self._changed) > MAX_PRESENT:
            self._clear(max(self._changed.values()))
            self._changed.clear()

    def poll_failed(self) -> None:
        """Record that the database did not respond to a poll."""
        self.reachable = False

    def _clear(self, n: int) -> None:
        self._oldest_n = max(self._oldest_n, n)
        self._present.clear()
        self._absent.clear()
