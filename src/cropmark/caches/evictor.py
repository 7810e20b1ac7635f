"""Changes the folder of the disk cache: writes within the limit, evictions, purges. Runs on one thread."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable
from typing import Final

from cropmark.caches import entry_format
from cropmark.caches.entry_store import EntryStore, Usage, disk_bytes
from cropmark.caches.pending_purges import PendingPurge, PendingPurges
from cropmark.caches.stats import MAX_ENTRY_DIVISOR
from cropmark.caches.tag_index import SHARDS
from cropmark.ports import Digest, Record, Rendition

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a full disk."""

_RESCAN_AFTER_S: Final = 600
_SLICE_S: Final = 0.05
"""Time for which purged entries are removed. Then waiting renditions are written before the removal continues."""

_log = logging.getLogger(__name__)


class Evictor:
    """Changes a folder of entries and counts its contents. All methods run on the writer thread.

    Between two scans, a process counts only its own writes. Processes that share a folder may therefore exceed the
    limit, by at most a tenth each: a process that reaches the limit frees a tenth of it.
    """

    def __init__(
        self,
        entries: EntryStore,
        limit: Usage,
        purges: PendingPurges,
        run_later: Callable[[Callable[[], None]], object],
    ) -> None:
        """`run_later` appends a call to the queue of the writer thread."""
        self._entries = entries
        self._limit = limit
        self._purges = purges
        self._run_later = run_later
        self._scanned_s = 0.0
        self._begun: list[PendingPurge] = []
        """The purges with entries that are being removed."""
        self._failed: list[PendingPurge] = []
        """The purges with entries that could not be removed."""
        self._next_shard = 0
        self.usage: Usage | None = None
        """The usage of the folder; None before the first scan, and after an error has made it unknown."""
        self.evictions = 0

    def scan(self) -> Usage:
        """Count all entries, and restart the purges that failed. Raises OSError."""
        self.usage = self._entries.scan()
        self._scanned_s = time.monotonic()
        self._begin_again()
        return self.usage

    def store(self, key: Digest, rendition: Rendition) -> bool:
        """Write an entry. Returns False if it cannot be serialized or is too large. Raises OSError."""
        try:
            parts = entry_format.encode(key, rendition)
        except ValueError:
            _log.warning("disk cache: record %s cannot be written as JSON; it is not cached", key)
            return False
        needed = Usage(1, disk_bytes(sum(map(len, parts))))
        if needed.bytes > self._limit.bytes // MAX_ENTRY_DIVISOR:
            self.discard(key)  # the older entry under this key is out of date
            return False
        usage = self._make_space(needed)
        try:
            self.usage = usage + self._entries.write(key, parts, rendition.record.tags)
        except OSError as error:
            if error.errno in FULL:  # the disk is smaller than the limit: continue within the space there is
                self._shrink(_nine_tenths(usage))
            raise
        self._purges.note_write(key)
        return True

    def discard(self, key: Digest) -> None:
        """Remove an entry. Ignores an OSError: the next lookup finds the entry and discards it again."""
        try:
            removed = self._entries.remove(key)
        except OSError:
            return
        if self.usage is not None:
            self.usage -= removed

    def begin_purge(self, purge: PendingPurge) -> None:
        """Start to remove the entries of a purge. Other calls on this thread run between slices of the removal."""
        self._purges.begin(purge)
        self._begin_again()
        self._begin(purge)

    def _begin_again(self) -> None:
        failed, self._failed = self._failed, []
        for purge in failed:
            purge.shards_left, purge.failure = len(SHARDS), None
            self._begin(purge)

    def _begin(self, purge: PendingPurge) -> None:
        self._begun.append(purge)
        if len(self._begun) == 1:
            self._continue_later()

    def _continue_later(self) -> None:
        with contextlib.suppress(RuntimeError):  # the cache is being closed
            self._run_later(self._remove_purged)

    def _remove_purged(self) -> None:
        """Remove entries of all begun purges for a short time, shard by shard.

        The shards are visited in a circle. A purge is complete when all shards have been visited once since it began.
        """
        until_s = time.monotonic() + _SLICE_S
        while self._begun:
            self._purges.may_remove.wait()
            self._remove_in(SHARDS[self._next_shard])
            self._next_shard = (self._next_shard + 1) % len(SHARDS)
            for purge in self._begun:
                purge.shards_left -= 1
            self._end_purges()
            if time.monotonic() >= until_s:
                break
        if self._begun:
            self._continue_later()

    def _remove_in(self, shard: str) -> None:
        removed = Usage()
        try:
            for purge, keys in zip(self._begun, self._entries.tagged(shard, self._begun, self._purges), strict=True):
                purge.counts.setdefault(shard, len(keys))
                for key in keys:
                    removed += self._remove_for(purge, Digest(key.decode()))
            if removed.entries:
                self._entries.shrink_index(shard)
        except OSError as error:
            for purge in self._begun:
                purge.failure = error
        if self.usage is not None:
            self.usage -= removed

    def _remove_for(self, purge: PendingPurge, key: Digest) -> Usage:
        try:
            return self._make_stale(key, purge) if purge.is_soft else self._entries.remove(key)
        except OSError as error:
            purge.failure = error
            return Usage()

    def _make_stale(self, key: Digest, purge: PendingPurge) -> Usage:
        """Move an entry to the key of its order, for find_stale().

        Removes an entry that may not be sent after the purge.
        """
        record = self._entries.record_of(key)
        if record is not None and record.order_key == key:
            return Usage()  # an earlier soft purge has purged it
        if record is None or not self._may_be_sent(record, purge):
            return self._entries.remove(key)
        try:
            removed = self._entries.make_stale(key, record)
        except FileNotFoundError:  # another process has purged it, or emptied the folder
            return self._entries.remove(key)
        self._purges.note_write(Digest(record.order_key))
        if not self._may_be_sent(record, purge):  # the new one has become ready in between
            removed += self._entries.remove(Digest(record.order_key))
        return removed

    def _may_be_sent(self, record: Record, purge: PendingPurge) -> bool:
        """True if the entry may be sent after a soft purge, until its new rendition is ready.

        False if the entry cannot be found by its order, if the new rendition is ready, or if another purge covers the
        entry.
        """
        if not record.order_key or record.original is not None:
            return False
        is_renewed = self._purges.is_renewed(Digest(record.order_key), purge.number)
        return not (is_renewed or self._purges.covers(record, 0, (), stale=True))

    def _end_purges(self) -> None:
        for purge in [purge for purge in self._begun if not purge.shards_left]:
            self._begun.remove(purge)
            if purge.failure is None or self._purges.has_newer(purge):
                self._purges.complete(purge)
            else:
                self._failed.append(purge)
                _log.warning("disk cache: purged entries could not be removed: %s; they are not served", purge.failure)
            if not purge.done.done():
                purge.done.set_result(purge.failure)

    def _make_space(self, needed: Usage) -> Usage:
        """If `needed` does not fit, evict entries down to nine tenths of the limit. Returns the usage after that."""
        is_fresh = time.monotonic() - self._scanned_s < _RESCAN_AFTER_S
        usage = self.usage if self.usage is not None and is_fresh else self.scan()
        if not (usage + needed).within(self._limit):
            usage = self._shrink(_nine_tenths(self._limit) - needed)
        return usage

    def _shrink(self, to: Usage) -> Usage:
        self.usage, removed = self._entries.shrink(to)
        self.evictions += removed.entries
        return self.usage


def _nine_tenths(usage: Usage) -> Usage:
    return Usage(usage.entries * 9 // 10, usage.bytes * 9 // 10)
