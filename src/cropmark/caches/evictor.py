"""What changes the folder of the disk cache: writes within bounds, throws out, purges. Lives on one thread."""

from __future__ import annotations

import errno
import logging
import threading
import time
from concurrent.futures import Future
from typing import Final

from cropmark.caches import entry_format
from cropmark.caches.entry_store import EntryStore, Usage, on_disk
from cropmark.caches.stats import SHARE
from cropmark.ports import Digest, Rendition

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_ENTRIES_LIMIT: Final = 500_000
_SURVEYED_AFTER_S: Final = 600

_log = logging.getLogger(__name__)


class Evictor:
    """Changes an entry folder, and counts what is in it. All but asked() is called on the one writing thread.

    Each process counts what it writes itself, so several on one folder pass the limit by what the others wrote since
    the last survey: at most a tenth of the limit for each, since one that meets it frees a tenth.
    """

    def __init__(self, entries: EntryStore, limit_bytes: int) -> None:
        self._entries = entries
        self._limit = Usage(_ENTRIES_LIMIT, limit_bytes)
        self._surveyed_s = 0.0
        self._asking = threading.Lock()
        self._asked: list[tuple[str, Future[int]]] = []
        self._jobs = 0
        self.held: Usage | None = None
        self.evictions = 0

    def scan(self) -> Usage:
        self.held = self._entries.scan()
        self._surveyed_s = time.monotonic()
        return self.held

    def store(self, key: Digest, rendition: Rendition) -> bool:
        """Whether it was written. Raises OSError."""
        try:
            parts = entry_format.packed(key, rendition)
        except ValueError:
            _log.warning("disk cache: a record that JSON cannot say is not kept: %s", key)
            return False
        needed = Usage(1, on_disk(sum(map(len, parts))))
        if needed.bytes > self._limit.bytes // SHARE:
            self.discard(key)  # the older one under this key is no longer right
            return False
        held = self._with_room(needed)
        try:
            self.held = held + self._entries.write(key, parts)
        except OSError as error:
            if error.errno in FULL:  # a disk smaller than the limit: go on within what there is
                self._shrink(_nine_tenths(held))
            raise
        return True

    def discard(self, key: Digest) -> None:
        """Remove an entry, if that can be done; else it is met again by whoever asks for it."""
        try:
            gone = self._entries.remove(key)
        except OSError:
            return
        if self.held is not None:
            self.held -= gone

    def touch(self, tag_prefix: str) -> Future[int]:
        """Note a purge, from any thread; a job for purge() must follow."""
        future = Future[int]()
        with self._asking:
            self._asked.append((tag_prefix, future))
        return future

    def purge(self) -> None:
        """Look at every entry, once for all the purges that wait: the job of the last of them does it.

        Of the last, not of the first, so that what was put before a purge is there when it looks.
        """
        with self._asking:
            self._jobs += 1
            if self._jobs < len(self._asked):
                return
            asked, self._asked, self._jobs = self._asked, [], 0
        waiting = [(prefix, future) for prefix, future in asked if future.set_running_or_notify_cancel()]
        try:
            gone, by_prefix = self._entries.remove_tagged({prefix for prefix, _ in asked})
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
            self.held = None  # some were removed
            for _, future in waiting:
                future.set_exception(error)
            return
        if self.held is not None:
            self.held -= gone
        for prefix, future in waiting:
            future.set_result(by_prefix[prefix])

    def _with_room(self, needed: Usage) -> Usage:
        """What is held, once there is room for as much more."""
        is_fresh = time.monotonic() - self._surveyed_s < _SURVEYED_AFTER_S
        held = self.held if self.held is not None and is_fresh else self.scan()
        if not (held + needed).within(self._limit):
            held = self._shrink(_nine_tenths(self._limit) - needed)
        return held

    def _shrink(self, to: Usage) -> Usage:
        self.held, gone = self._entries.shrink(to)
        self.evictions += gone.entries
        return self.held


def _nine_tenths(held: Usage) -> Usage:
    return Usage(held.entries * 9 // 10, held.bytes * 9 // 10)
