"""A library while a server has it open: its threads, its news, and what is to be done at a time."""

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

LOOK_S: Final = 0.4
"""Between two looks at the news: with a slow database still within the second that the source trusts."""
AGAIN_S: Final = 0.25
"""Between two looks out of turn, for a key that is not known."""
SWEEP_S: Final = 600.0
THREADS: Final = 4

Drop = Callable[[str], Awaitable[object]]
"""Forgets the renditions of an asset, which is named `stack/asset/`."""


async def _nothing(named: str) -> None:
    """Nothing is cached."""


class LibraryService:
    """Implements ports.LiveLibrary."""

    def __init__(self, store: LibraryStore, *, look_s: float = LOOK_S, sweep_s: float = SWEEP_S) -> None:
        self.store = store
        # Threads apart: however long uploads take, or a bucket, the database is asked, and its news are heard.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="library")
        self._writers = ThreadPoolExecutor(THREADS, thread_name_prefix="library-writer")
        self._openers = ThreadPoolExecutor(THREADS, thread_name_prefix="library-opener")
        self._listener = ThreadPoolExecutor(1, thread_name_prefix="library-news")
        self._ring = KeyIndex()
        self.source = LibrarySource(
            store, self._threads, self._openers, used=lambda key: self._ring.use(key, store.database.now_ms)
        )
        self._look_s = look_s
        self._sweep_s = sweep_s
        self._drop: Drop = _nothing
        self._seen: tuple[int, int] | None = None
        """The library's clock, and the time, when news were heard last."""
        self._looking = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._again: asyncio.Task[None] | None = None
        """The last look out of turn, and when it began."""
        self._again_s = 0.0

    async def start(self, drop: Drop) -> None:
        """Hear the news from now on; `drop` is called for each asset whose renditions are to be forgotten."""
        self._drop = drop
        await self.poll()
        self._tasks = [
            asyncio.create_task(self._forever(self._look_s, self.poll)),
            asyncio.create_task(self._forever(self._sweep_s, self.sweep)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        again = () if self._again is None else (self._again,)
        await asyncio.gather(*self._tasks, *again, return_exceptions=True)
        with contextlib.suppress(Problem):
            await self._store_key_uses()
        for threads in (self._threads, self._writers, self._openers, self._listener):
            await asyncio.to_thread(threads.shutdown)
        self.store.close()

    # ------------------------------------------------------------------------------------------ ports.LiveLibrary

    async def read(self, act: Callable[[Library], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, act, self.store)

    async def write(self, act: Callable[[Library], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._writers, act, self.store)
        finally:
            await self.poll()

    async def key(self, kind: KeyKind, secret: str) -> LibraryKey | None:
        found = self._ring.key(kind, secret, self.store.database.now_ms)
        if found is None and secret:
            await self._poll_again()  # it may be new
            found = self._ring.key(kind, secret, self.store.database.now_ms)
        return found

    async def admits(self, secret: str) -> bool:
        """Whether a secret is an administrator's token."""
        return await self.key(KeyKind.ADMIN, secret) is not None

    async def pixlab_owner(self, secret: str) -> str | None:
        """Who owns a key of PixLab's endpoints, by a name that does not tell the key."""
        key = await self.key(KeyKind.PIXLAB, secret)
        return None if key is None else f"key:{key.id}"

    # ------------------------------------------------------------------------------------------ time

    async def poll(self) -> None:
        """Hear the news, and do what is due."""
        async with self._looking:
            if (await self._apply_changes()).due:
                await self.read(lambda _: self.store.run_due())
                await self._apply_changes()

    async def _poll_again(self) -> None:
        """Hear the news out of turn, all who ask for it together: whoever guesses keys makes no more work than that."""
        now_s = asyncio.get_running_loop().time()
        if self._again is None or (self._again.done() and now_s >= self._again_s + AGAIN_S):
            self._again_s = now_s
            self._again = asyncio.create_task(self._try_poll())
        await asyncio.shield(self._again)

    async def _try_poll(self) -> None:
        with contextlib.suppress(Problem):
            await self.poll()

    async def sweep(self) -> None:
        """Write down when keys were used, and tidy up."""
        await self._store_key_uses()
        await asyncio.get_running_loop().run_in_executor(self._writers, garbage.tidied, self.store)

    async def _store_key_uses(self) -> None:
        uses = self._ring.taken_uses()
        await self.read(lambda _: self.store.keys_used(uses))

    async def _apply_changes(self) -> ChangeFeed:
        loop = asyncio.get_running_loop()
        now_ms = self.store.database.now_ms
        seen, looked_ms = self._seen or (None, now_ms)
        news = await loop.run_in_executor(self._listener, self.store.changes_since, seen, looked_ms)
        if news.whole or any(change.kind is ChangeKind.KEYS for change in news.changes):
            self._ring.renew(await loop.run_in_executor(self._listener, self.store.all_keys))
        self.source.apply(news)
        self._seen = (news.n, now_ms)
        for change in news.changes:
            if change.kind in (ChangeKind.GONE, ChangeKind.WITHDRAWN):
                await self._drop(f"{change.stack}/{change.uid}/")
        return news

    async def _forever(self, pause_s: float, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await act()
            except Problem as problem:
                log.warning("the library does not answer", why=problem.detail)
            except OSError as error:
                log.warning("the library's storage does not answer", why=str(error))
            except Exception:
                log.exception("the library's news could not be heard")
