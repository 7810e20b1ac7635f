"""Runs the library in a server: calls it in threads, polls for changes, and runs scheduled publications."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from cropmark.library import garbage
from cropmark.library.changes import ChangeFeed
from cropmark.library.database import TIMEOUT_S, Change, ChangeKind, database_unavailable
from cropmark.library.errors import LibraryUnavailable
from cropmark.library.keys import KeyIndex
from cropmark.library.lookup_cache import STALE_S
from cropmark.library.source import LibrarySource
from cropmark.library.store import LibraryStore
from cropmark.model.assets import KeyKind, LibraryKey
from cropmark.model.problems import DatabaseUnavailable, Problem
from cropmark.ports import Library

log = structlog.get_logger("cropmark.library")

T = TypeVar("T")

POLL_INTERVAL_S: Final = 0.4
"""Pause between two polls of the changes. Less than MAX_FEED_AGE_S, to leave time for a slow database."""
POLL_TIMEOUT_S: Final = 2.0
"""The database counts as unreachable if it does not respond to a poll within this time."""
MIN_REPOLL_S: Final = 0.25
"""Least time between two extra polls. A request with an unknown key causes an extra poll."""
SWEEP_INTERVAL_S: Final = 600.0
THREADS: Final = 4

DropRenditions = Callable[[str], Awaitable[object]]
"""Drops the cached renditions of an asset. The argument is `stack/asset/`."""


@dataclass(frozen=True, slots=True)
class LibraryHealth:
    """State of the connection to the library's database."""

    reachable: bool
    ready: bool
    """False if the database does not respond and the cached lookups have expired, so that no asset can be served."""
    feed_age_s: float
    """Time since the last successful poll."""
    stale_uses: int
    """Number of times that a cached lookup was used while the database did not respond."""
    rejected: int
    """Number of lookups that failed because the database did not respond."""


async def _no_drop(named: str) -> None:
    """Do nothing. Used before start(), when no rendition is cached."""


class LibraryService:
    """The library of a server. Implements ports.LibraryAccess."""

    def __init__(
        self,
        store: LibraryStore,
        *,
        poll_interval_s: float = POLL_INTERVAL_S,
        sweep_interval_s: float = SWEEP_INTERVAL_S,
        stale_s: float = STALE_S,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """`stale_s` is the time for which known assets are served while the database does not respond.

        `timeout_s` limits a read.
        """
        self.store = store
        self._timeout_s = timeout_s
        # Separate threads: a slow upload or a slow bucket must delay neither lookups nor the polling of changes.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="library")
        self._writers = ThreadPoolExecutor(THREADS, thread_name_prefix="library-writer")
        self._openers = ThreadPoolExecutor(THREADS, thread_name_prefix="library-opener")
        self._pollers = ThreadPoolExecutor(1, thread_name_prefix="library-poller")
        self._keys = KeyIndex()
        self.source = LibrarySource(
            store,
            self._threads,
            self._openers,
            on_key_use=lambda key: self._keys.record_use(key, store.database.now_ms),
            stale_s=stale_s,
            timeout_s=timeout_s,
        )
        self._poll_interval_s = poll_interval_s
        self._sweep_interval_s = sweep_interval_s
        self._drop: DropRenditions = _no_drop
        self._position: tuple[int, int] | None = None
        """The library's clock at the last poll, and the time of that poll in Unix milliseconds."""
        self._poll_lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._due: asyncio.Task[None] | None = None
        """The task of the last run of due publications."""
        self._repoll: asyncio.Task[None] | None = None
        """The task of the last extra poll."""
        self._repolled_s = 0.0
        """The start of the last extra poll, by the loop's clock."""

    async def start(self, drop: DropRenditions) -> None:
        """Start to poll for changes. Raises LibraryUnavailable.

        `drop` is called for each deleted or unpublished asset, to drop its cached renditions.
        """
        self._drop = drop
        loop = asyncio.get_running_loop()
        self.store.database.before_commit = lambda changes: self._note_own_changes(loop, changes)
        try:
            await self.poll()
        except DatabaseUnavailable as problem:
            raise LibraryUnavailable(problem.detail, "check database_url") from problem
        self._tasks = [
            asyncio.create_task(self._forever(self._poll_interval_s, self.poll)),
            asyncio.create_task(self._forever(self._sweep_interval_s, self.sweep)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        others = (task for task in (self._repoll, self._due) if task is not None)
        await asyncio.gather(*self._tasks, *others, return_exceptions=True)
        with contextlib.suppress(Problem):
            self._check_reachable()
            await self._store_key_uses()
        for threads in (self._threads, self._writers, self._openers, self._pollers):
            await asyncio.to_thread(threads.shutdown)
        self.store.close()

    def health(self) -> LibraryHealth:
        lookups = self.source.lookups
        return LibraryHealth(
            lookups.reachable, not lookups.expired, lookups.feed_age_s, lookups.stale_uses, self.source.rejected
        )

    # ------------------------------------------------------------------------------------------ ports.LibraryAccess

    async def read(self, act: Callable[[Library], T]) -> T:
        self._check_reachable()
        return await _in_time(self._threads, self._timeout_s, act, self.store)

    async def write(self, act: Callable[[Library], T]) -> T:
        self._check_reachable()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writers, act, self.store)
        finally:
            await self._try_poll()  # if it fails, _note_own_changes() has invalidated the changed lookups

    def _check_reachable(self) -> None:
        if not self.source.lookups.reachable:
            raise database_unavailable()

    def _note_own_changes(self, loop: asyncio.AbstractEventLoop, changes: Sequence[Change]) -> None:
        """Invalidate the lookups of changed assets before the commit.

        After the commit would be too late: if the commit times out, its outcome is unknown.
        """
        loop.call_soon_threadsafe(self.source.lookups.mark_changed, tuple(changes))

    async def key(self, kind: KeyKind, secret: str) -> LibraryKey | None:
        key = self._keys.find(kind, secret, self.store.database.now_ms)
        if key is None and secret and self.source.lookups.reachable:
            await self._poll_again()  # it may be new
            key = self._keys.find(kind, secret, self.store.database.now_ms)
        return key

    async def admits(self, secret: str) -> bool:
        """True if the secret belongs to an admin key."""
        return await self.key(KeyKind.ADMIN, secret) is not None

    async def pixlab_owner(self, secret: str) -> str | None:
        """The owner of results that are stored with this PixLab key, `key:{id}`; None for an unknown key."""
        key = await self.key(KeyKind.PIXLAB, secret)
        return None if key is None else f"key:{key.id}"

    # ------------------------------------------------------------------------------------------ polling

    async def poll(self) -> None:
        """Apply the changes since the last poll, and start due publications. Raises DatabaseUnavailable."""
        async with self._poll_lock:
            lookups = self.source.lookups
            was_reachable = lookups.reachable
            try:
                feed = await self._apply_changes()
            except DatabaseUnavailable as problem:
                lookups.poll_failed()
                if was_reachable:
                    cause = problem.__cause__
                    log.warning("the library's database does not respond", why=str(getattr(cause, "orig", cause)))
                raise
            if not was_reachable:
                log.info("the library's database responds again")
        if feed.due and (self._due is None or self._due.done()):
            self._due = asyncio.create_task(self._run_due())

    async def _run_due(self) -> None:
        """Run the due publications.

        This is a separate task: the publications may wait for other writers, which must not delay polls.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._writers, self.store.run_due)
        except Problem as problem:
            log.warning("due publications could not be run", why=problem.detail)
        await self._try_poll()

    async def _poll_again(self) -> None:
        """Poll now instead of at the next interval.

        Concurrent calls share one poll, so guessing keys causes few queries.
        """
        now_s = asyncio.get_running_loop().time()
        if self._repoll is None or (self._repoll.done() and now_s >= self._repolled_s + MIN_REPOLL_S):
            self._repolled_s = now_s
            self._repoll = asyncio.create_task(self._try_poll())
        await asyncio.shield(self._repoll)

    async def _try_poll(self) -> None:
        with contextlib.suppress(Problem):
            await self.poll()

    async def sweep(self) -> None:
        """Store when keys were last used, and collect garbage."""
        self._check_reachable()
        await self._store_key_uses()
        await asyncio.get_running_loop().run_in_executor(self._writers, garbage.run_maintenance, self.store)

    async def _store_key_uses(self) -> None:
        uses = self._keys.take_uses()
        await asyncio.get_running_loop().run_in_executor(self._writers, self.store.record_key_uses, uses)

    async def _apply_changes(self) -> ChangeFeed:
        now_ms = self.store.database.now_ms
        limit_s = min(self._timeout_s, POLL_TIMEOUT_S)
        n, polled_ms = self._position or (None, now_ms)
        feed = await _in_time(self._pollers, limit_s, self.store.changes_since, n, polled_ms)
        if feed.reset or any(change.kind is ChangeKind.KEYS for change in feed.changes):
            self._keys.replace(await _in_time(self._pollers, limit_s, self.store.all_keys))
        self.source.lookups.apply(feed)
        self._position = (feed.n, now_ms)
        for change in feed.changes:
            if change.kind in (ChangeKind.DELETED, ChangeKind.WITHDRAWN):
                await self._drop(f"{change.stack}/{change.uid}/")
        return feed

    async def _forever(self, pause_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await act()
            except Problem as problem:
                if self.source.lookups.reachable:  # else poll() has logged it
                    log.warning("a background task of the library failed", why=problem.detail)
            except OSError as error:
                log.warning("the library's storage failed", why=str(error))
            except Exception:
                log.exception("a background task of the library failed")


async def _in_time(threads: Executor, limit_s: float, act: Callable[..., T], *arguments: Any) -> T:
    """Call `act` in a thread and return its result.

    Raises DatabaseUnavailable after `limit_s`. The call in the thread is not interrupted.
    """
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, act, *arguments), limit_s)
    except TimeoutError:
        raise database_unavailable() from TimeoutError(f"no response within {limit_s:g} s")
