"""Counts the purges of each source. The count is part of cache keys, so that a purge changes them."""

from __future__ import annotations

from typing import Final

from cropmark.ports import purge_matches

LIMIT: Final = 1024


class PurgeGenerations:
    """The generation of each source: 0 until the source is purged, and larger after each purge that covers it.

    At most `limit` purged prefixes are stored. Above the limit they are dropped, and all sources get a new generation.
    That costs cache hits once, but bounds the memory.
    """

    def __init__(self, limit: int = LIMIT, *, start: int = 0) -> None:
        """`start` is added to all generations except 0.

        If generations are stored longer than this process runs, `start` must be the time at which this process started.
        Otherwise a new process would use the same generations again.
        """
        self._limit = limit
        self._start = start
        self._common = 0
        """Number of purges that count for every source, because their prefixes are no longer in memory."""
        self._by_prefix: dict[str, int] = {}
        self.purges = 0
        """Number of purges since the start."""

    def add(self, prefix: str) -> None:
        """Count a purge of all sources with an identity that `prefix` covers."""
        self.purges += 1
        self._by_prefix[prefix] = self._by_prefix.get(prefix, 0) + 1
        if len(self._by_prefix) > self._limit:
            self._common += sum(self._by_prefix.values())
            self._by_prefix.clear()

    def of(self, identity: str) -> int:
        """The current generation of the source with this identity."""
        if not self.purges:  # the usual case, on the path of every hit
            return 0
        count = self._common + sum(n for prefix, n in self._by_prefix.items() if purge_matches(prefix, identity))
        return self._start + count if count else 0
