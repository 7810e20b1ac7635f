"""Changes to the folder of the disk cache: bounded writes, eviction, purges. Runs on one thread."""

from __future__ import annotations

import errno
import logging
import threading
import time
from concurrent.futures import Future
from typing import Final

from cropmark.caches import entry_format
from cropmark.caches.entry_store import EntryStore, Usage, disk_bytes
from cropmark.caches.stats import MAX_ENTRY_DIVISOR
from cropmark.ports import Digest, Rendition

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a full disk."""

_MAX_ENTRIES: Final = 500_000
_RESCAN_AFTER_S: Final = 600

_log = logging.getLogger(__name__)


class Evictor:
    """Changes an entry folder and counts its contents. All methods but request_purge() run on the writer thread.

    Each process counts its own writes. Several processes on one folder exceed the limit by the writes of the others
    since the last scan: at most by a tenth of the limit each, since a process that reaches the limit frees a tenth.
    """

    def __init__(self, entries: EntryStore, limit_bytes: int) -> None:
        self._entries = entries
        self._limit = Usage(_MAX_ENTRIES, limit_bytes)
        self._scanned_s = 0.0
        self._purge_lock = threading.Lock()
        self._purge_requests: list[tuple[str, Future[int]]] = []
        self._purge_jobs = 0
        self.usage: Usage | None = None
        """None: not counted yet, or no longer known."""
        self.evictions = 0

    def scan(self) -> Usage:
        """Count all entries. Raises OSError."""
        self.usage = self._entries.scan()
        self._scanned_s = time.monotonic()
        return self.usage

    def store(self, key: Digest, rendition: Rendition) -> bool:
        """Write an entry; False if it cannot be serialized or is too large. Raises OSError."""
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
            self.usage = usage + self._entries.write(key, parts)
        except OSError as error:
            if error.errno in FULL:  # the disk is smaller than the limit: continue within the space there is
                self._shrink(_nine_tenths(usage))
            raise
        return True

    def discard(self, key: Digest) -> None:
        """Remove an entry. An error is ignored: the next lookup of the key finds the entry again."""
        try:
            removed = self._entries.remove(key)
        except OSError:
            return
        if self.usage is not None:
            self.usage -= removed

    def request_purge(self, tag_prefix: str) -> Future[int]:
        """Queue a purge, from any thread. The caller then submits one run_purges() to the writer thread."""
        future = Future[int]()
        with self._purge_lock:
            self._purge_requests.append((tag_prefix, future))
        return future

    def run_purges(self) -> None:
        """Carry out all queued purges in one scan, in the job of the last one; earlier jobs return immediately.

        The last job, not the first: entries that were put before the last purge have been written by then.
        """
        with self._purge_lock:
            self._purge_jobs += 1
            if self._purge_jobs < len(self._purge_requests):
                return
            requests, self._purge_requests, self._purge_jobs = self._purge_requests, [], 0
        waiting = [(prefix, future) for prefix, future in requests if future.set_running_or_notify_cancel()]
        try:
            removed, by_prefix = self._entries.remove_tagged({prefix for prefix, _ in requests})
        except Exception as error:  # noqa: BLE001 - any error must reach the futures, else their callers wait forever
            self.usage = None  # some entries were removed
            for _, future in waiting:
                future.set_exception(error)
            return
        if self.usage is not None:
            self.usage -= removed
        for prefix, future in waiting:
            future.set_result(by_prefix[prefix])

    def _make_space(self, needed: Usage) -> Usage:
        """The usage after making space: if `needed` does not fit, evicts down to nine tenths of the limit."""
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
