"""Caches renditions in an object store that several servers share.

    r<RENDER_VERSION>/3f/3f9c…   an entry under its key, in the format of the disk cache
    purges/…                     see purge_marks.py

- A lookup ends after `read_s`. After three failures in a row the store is not used for a time (CircuitBreaker), so that
  it delays few requests.
- A put does not wait: the rendition is queued and written in the background. If the queue is full, the rendition is
  dropped and counted.
- An entry is checked when it is read. A damaged or purged entry is a miss and is deleted.
- A purge writes a mark, which covers the entries stored before it. It does not list or count entries.
- Nothing is evicted: entries older than `ttl_s` are misses, and the bucket's lifecycle rule deletes them.
- A result that is private to a client is not stored here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import obstore
import structlog

from cropmark.caches import entry_format
from cropmark.caches.entry_format import CorruptEntry
from cropmark.caches.purge_marks import PurgeMarks
from cropmark.caches.stats import MAX_ENTRY_DIVISOR, TierCounters, TierStats
from cropmark.model.problems import InternalError
from cropmark.ports import RENDER_VERSION, Digest, Rendition
from cropmark.runtime.breaker import CircuitBreaker
from cropmark.runtime.object_store import STORE_ERRORS, Failure, StoreTimes, failure_of, failure_reason
from cropmark.runtime.purge_log import Position, PurgeHistory, read_position

log = structlog.get_logger("cropmark.caches")

MIB: Final = 2**20
QUEUE_BYTES: Final = 64 * MIB
"""Limit of all renditions that wait to be written. A single rendition may have at most an eighth of this limit."""
READ_S: Final = 0.3
TTL_S: Final = 30 * 86_400.0
TIMES: Final = StoreTimes(connect_s=1, read_s=5, total_s=10, max_retries=2, retry_s=3)
"""Timeouts of the store's client for writes. A lookup has a shorter timeout, `read_s`."""

_WRITERS: Final = 4
_MAX_QUEUED: Final = 4_096
_CLOSE_S: Final = 5.0
_WRITTEN_POLL_S: Final = 0.005
_RECORD_BYTES: Final = 65_536
"""Largest header of an entry, in addition to its body."""
_INLINE_BYTES: Final = 256 * 1024
"""Largest entry that is encoded and decoded on the event loop."""


class SharedCache:
    """A Cache that stores renditions in an object store."""

    name: Final = "shared"

    def __init__(
        self,
        store: Any,  # obstore has a type for each kind of store
        *,
        queue_bytes: int = QUEUE_BYTES,
        read_s: float = READ_S,
        ttl_s: float = TTL_S,
        now: Callable[[], float] = time.time,
        history: PurgeHistory | None = None,
    ) -> None:
        """`history` has the purges of all servers.

        Entries from a server that did not know one of these purges are not used.
        """
        self._store = store
        self._history = history
        self._queue_bytes = queue_bytes
        self._read_s = read_s
        self._ttl_s = ttl_s
        self._now = now
        self._counts = TierCounters()
        self._breaker = CircuitBreaker("shared cache: the store")
        self._marks = PurgeMarks(store)
        self._queue: dict[Digest, Rendition | None] = {}
        """The waiting writes, in the order of their calls. The value None deletes the entry."""
        self._queued_bytes = 0
        self._writers: set[asyncio.Task[None]] = set()
        self._writing: set[asyncio.Task[None]] = set()
        """Writes in progress."""
        self._keys_in_writing: set[Digest] = set()
        self._is_closed = False

    async def get(self, key: Digest) -> Rendition | None:
        found = await self._found(key)
        expires_s = found.record.expires_s if found is not None else None
        if found is None or (expires_s is not None and expires_s <= self._now()):
            self._counts.misses += 1
            return None
        self._counts.hits += 1
        return found

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Queue the rendition to be written in the background."""
        if len(rendition.body) * MAX_ENTRY_DIVISOR > self._queue_bytes:
            self._counts.skipped += 1
            self._enqueue(key, None)  # the older entry under this key is out of date
        elif any(version.private for version in rendition.record.versions) or not self._has_space(rendition):
            self._counts.skipped += 1
        else:
            self._enqueue(key, rendition)

    async def purge(self, tag_prefix: str) -> int:
        return await self.purge_at(tag_prefix, None)

    async def purge_at(self, tag_prefix: str, at: Position | None) -> int:
        """Write a mark that covers all entries that the store has now. Always returns 0: the entries are not counted.

        `at` is the position of the purge in the stream of all servers' purges. Results of renders that began with
        knowledge of this purge are not covered.

        Raises InternalError if the mark could not be written, since other servers would use the purged entries.
        """
        await self.purge_own(tag_prefix)
        if self._writing:  # else a write in progress would end after the mark
            await asyncio.wait(tuple(self._writing), timeout=TIMES.total_s)
        try:
            async with asyncio.timeout(TIMES.total_s):
                await self._marks.add(tag_prefix, at)
        except STORE_ERRORS as error:
            self._record_error(error)
            raise InternalError(
                "the shared cache could not be purged",
                fix="find the reason in the log, fix it and purge again",
            ) from error
        return 0

    async def purge_own(self, tag_prefix: str) -> int:
        """Drop the purged renditions that wait to be written. Returns their number. Another server writes the mark."""
        waiting = [key for key, one in self._queue.items() if one is not None and one.record.has_tag(tag_prefix)]
        for key in waiting:
            self._dequeue(key)
        return len(waiting)

    async def written(self, key: Digest) -> None:
        """Wait until the rendition that was put under this key is in the store or was dropped."""
        while key in self._queue or key in self._keys_in_writing:  # noqa: ASYNC110 - an event per entry costs more
            await asyncio.sleep(_WRITTEN_POLL_S)

    async def flush(self, timeout_s: float) -> None:
        """Wait until every rendition that was put is in the store or was dropped, but at most `timeout_s`."""
        if self._writers:
            await asyncio.wait(tuple(self._writers), timeout=timeout_s)

    async def close(self) -> None:
        """Finish pending writes, for five seconds at most."""
        self._is_closed = True
        await self.flush(_CLOSE_S)
        for writer in self._writers:
            writer.cancel()
        await asyncio.gather(*self._writers, return_exceptions=True)
        await self._marks.close()

    def stats(self) -> TierStats:
        """The statistics of this server. `entries` and `bytes` count only renditions that wait to be written."""
        return TierStats(
            self.name,
            entries=len(self._queue),
            bytes=self._queued_bytes,
            limit_bytes=self._queue_bytes,
            available=not self._breaker.is_open,
            **asdict(self._counts),
        )

    # ---------------------------------------------------------------------------------------------- reading

    async def _found(self, key: Digest) -> Rendition | None:
        """The rendition that waits to be written, else the rendition in the store; None if neither can be used."""
        if (waiting := self._queue.get(key)) is not None:
            return waiting
        if key in self._queue or self._is_closed or not self._breaker.allows():
            return None
        try:
            async with asyncio.timeout(self._read_s):
                await self._marks.current()
                entry = await obstore.get_async(self._store, _path(key))
                is_large = entry.meta["size"] > self._queue_bytes // MAX_ENTRY_DIVISOR + _RECORD_BYTES
                data = b"" if is_large else bytes(await entry.bytes_async())  # an empty entry is corrupt
        except STORE_ERRORS as error:
            if failure_of(error) is Failure.MISSING:
                self._breaker.succeeded()
            else:
                self._record_error(error)
            return None
        self._breaker.succeeded()
        return await self._usable(key, data, entry.meta["last_modified"].timestamp())

    async def _usable(self, key: Digest, data: bytes, stored_s: float) -> Rendition | None:
        """The rendition in an entry; None if the entry is damaged, purged or too old."""
        if stored_s + self._ttl_s < self._now():
            return None
        try:
            decode = partial(entry_format.decode, key, data)
            rendition = await asyncio.to_thread(decode) if len(data) > _INLINE_BYTES else decode()
        except CorruptEntry as corrupt:
            self._counts.damaged += 1
            log.warning("shared cache: an entry is corrupt and is removed", key=key, reason=str(corrupt))
            self._enqueue(key, None)
            return None
        record = rendition.record
        is_purged = self._marks.covers(record.tags, stored_s, read_position(record.purges_seen))
        if is_purged or (self._history is not None and self._history.is_purged_elsewhere(record, stored_s)):
            self._enqueue(key, None)
            return None
        return rendition

    # ---------------------------------------------------------------------------------------------- writing

    def _has_space(self, rendition: Rendition) -> bool:
        is_full = self._queued_bytes + len(rendition.body) > self._queue_bytes or len(self._queue) >= _MAX_QUEUED
        return not is_full and not self._breaker.is_open

    def _enqueue(self, key: Digest, rendition: Rendition | None) -> None:
        if self._is_closed:
            return
        self._dequeue(key)
        self._queue[key] = rendition
        self._queued_bytes += 0 if rendition is None else len(rendition.body)
        if len(self._writers) < _WRITERS:
            writer = asyncio.create_task(self._write_all())
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)

    def _dequeue(self, key: Digest) -> Rendition | None:
        rendition = self._queue.pop(key, None)
        self._queued_bytes -= 0 if rendition is None else len(rendition.body)
        return rendition

    async def _write_all(self) -> None:
        """Write until the queue is empty. Writes of the same entry run one after the other."""
        while (key := next((key for key in self._queue if key not in self._keys_in_writing), None)) is not None:
            write = asyncio.create_task(self._write(key, self._dequeue(key)))
            self._writing.add(write)
            write.add_done_callback(self._writing.discard)
            self._keys_in_writing.add(key)
            try:
                await write
            finally:
                self._keys_in_writing.discard(key)

    async def _write(self, key: Digest, rendition: Rendition | None) -> None:
        if not self._breaker.allows():
            self._counts.skipped += rendition is not None
            return
        try:
            async with asyncio.timeout(TIMES.total_s):
                if rendition is None:
                    await obstore.delete_async(self._store, _path(key))
                else:
                    encode = partial(entry_format.encode, key, rendition)
                    parts = await asyncio.to_thread(encode) if len(rendition.body) > _INLINE_BYTES else encode()
                    await obstore.put_async(self._store, _path(key), b"".join(parts))
        except STORE_ERRORS as error:
            if failure_of(error) is not Failure.MISSING:
                self._counts.skipped += rendition is not None
                self._record_error(error)
                return
        except ValueError:
            log.warning("shared cache: a record cannot be written as JSON; it is not cached", key=key)
            self._counts.skipped += 1
            return
        self._breaker.succeeded()

    def _record_error(self, error: BaseException) -> None:
        self._counts.errors += 1
        self._breaker.failed(failure_reason(error))


def _path(key: Digest) -> str:
    # Entries of another RENDER_VERSION have other keys; the folder lets an operator delete them together.
    return f"r{RENDER_VERSION}/{key[:2]}/{key}"
