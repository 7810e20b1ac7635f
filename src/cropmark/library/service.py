"""A library in a running server: its threads, the polling of changes, and scheduled publications."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import structlog

from cropmark.library import garbage
from cropmark.library.changes import ChangeFeed
from cropmark.library.database import ChangeKind
from cropmark.library.keys import KeyIndex
from cropmark.library.source import LibrarySource
from cropmark.library.store import LibraryStore
from cropmark.model.assets import KeyKind, LibraryKey
from cropmark.model.problems import Problem
from cropmark.ports import Library

log = structlog.get_logger("cropmark.library")

T = TypeVar("T")

POLL_INTERVAL_S: Final = 0.4
"""Pause between two polls of the changes. Less than MAX_FEED_AGE_S, to leave time for a slow database."""
MIN_REPOLL_S: Final = 0.25
"""Least time between two extra polls, which unknown keys cause."""
SWEEP_INTERVAL_S: Final = 600.0
THREADS: Final = 4

DropRenditions = Callable[[str], Awaitable[object]]
"""Drops the cached renditions of an asset, given as `stack/asset/`."""


async def _no_drop(named: str) -> None:
    """Do nothing: nothing is cached before start()."""


class LibraryService:
    """Implements ports.LibraryAccess."""

    def __init__(
        self,
        store: LibraryStore,
        *,
        poll_interval_s: float = POLL_INTERVAL_S,
        sweep_interval_s: float = SWEEP_INTERVAL_S,
    ) -> None:
        self.store = store
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
        )
        self._poll_interval_s = poll_interval_s
        self._sweep_interval_s = sweep_interval_s
        self._drop: DropRenditions = _no_drop
        self._position: tuple[int, int] | None = None
        """The library's clock at the last poll, and the time of that poll in Unix milliseconds."""
        self._poll_lock = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._repoll: asyncio.Task[None] | None = None
        """The last extra poll."""
        self._repolled_s = 0.0
        """The start of the last extra poll, by the loop's clock."""

    async def start(self, drop: DropRenditions) -> None:
        """Start to poll for changes. `drop` is called for each deleted or unpublished asset."""
        self._drop = drop
        await self.poll()
        self._tasks = [
            asyncio.create_task(self._forever(self._poll_interval_s, self.poll)),
            asyncio.create_task(self._forever(self._sweep_interval_s, self.sweep)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        repoll = () if self._repoll is None else (self._repoll,)
        await asyncio.gather(*self._tasks, *repoll, return_exceptions=True)
        with contextlib.suppress(Problem):
            await self._store_key_uses()
        for threads in (self._threads, self._writers, self._openers, self._pollers):
            await asyncio.to_thread(threads.shutdown)
        self.store.close()

    # ------------------------------------------------------------------------------------------ ports.LibraryAccess

    async def read(self, act: Callable[[Library], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act, self.store)

    async def write(self, act: Callable[[Library], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writers, act, self.store)
        finally:
            await self.poll()

    async def key(self, kind: KeyKind, secret: str) -> LibraryKey | None:
        key = self._keys.find(kind, secret, self.store.database.now_ms)
        if key is None and secret:
            await self._poll_again()  # it may be new
            key = self._keys.find(kind, secret, self.store.database.now_ms)
        return key

    async def admits(self, secret: str) -> bool:
        """True if the secret is an admin key."""
        return await self.key(KeyKind.ADMIN, secret) is not None

    async def pixlab_owner(self, secret: str) -> str | None:
        """The owner's name for a key of PixLab's endpoints, which does not reveal the key; None for an unknown key."""
        key = await self.key(KeyKind.PIXLAB, secret)
        return None if key is None else f"key:{key.id}"

    # ------------------------------------------------------------------------------------------ polling

    async def poll(self) -> None:
        """Apply the changes since the last poll, and run due publications."""
        async with self._poll_lock:
            if (await self._apply_changes()).due:
                await self.read(lambda _: self.store.run_due())
                await self._apply_changes()

    async def _poll_again(self) -> None:
        """Poll before the next interval. Concurrent callers share one poll, so guessing keys causes few queries."""
        now_s = asyncio.get_running_loop().time()
        if self._repoll is None or (self._repoll.done() and now_s >= self._repolled_s + MIN_REPOLL_S):
            self._repolled_s = now_s
            self._repoll = asyncio.create_task(self._try_poll())
        await asyncio.shield(self._repoll)

    async def _try_poll(self) -> None:
        with contextlib.suppress(Problem):
            await self.poll()

    async def sweep(self) -> None:
        """Store the times of the keys' last use, and collect garbage."""
        await self._store_key_uses()
        await asyncio.get_running_loop().run_in_executor(self._writers, garbage.run_maintenance, self.store)

    async def _store_key_uses(self) -> None:
        uses = self._keys.take_uses()
        await self.read(lambda _: self.store.record_key_uses(uses))

    async def _apply_changes(self) -> ChangeFeed:
        loop = asyncio.get_running_loop()
        now_ms = self.store.database.now_ms
        n, polled_ms = self._position or (None, now_ms)
        feed = await loop.run_in_executor(self._pollers, self.store.changes_since, n, polled_ms)
        if feed.reset or any(change.kind is ChangeKind.KEYS for change in feed.changes):
            self._keys.replace(await loop.run_in_executor(self._pollers, self.store.all_keys))
        self.source.apply(feed)
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
                log.warning("the library is unavailable", why=problem.detail)
            except OSError as error:
                log.warning("the library's storage failed", why=str(error))
            except Exception:
                log.exception("a background task of the library failed")
