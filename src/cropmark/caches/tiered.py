"""Combines several cache tiers into one cache.

- A lookup searches the tiers from the fastest to the slowest, and copies a hit into the faster tiers.
- A put first stores in the tiers that need no waiting, then writes to the other tiers. After WRITE_WAIT_S the caller
  continues, and the writes finish in the background.
- A purge waits for the puts in progress, then purges every tier. If a purge begins or runs during a lookup, the found
  rendition is not copied into another tier, since it may be a purged rendition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from cropmark.caches.stats import Tier, TierStats
from cropmark.ports import Digest, Rendition, StoredRendition
from cropmark.runtime.purge_log import Position

WRITE_WAIT_S: Final = 0.05
"""Longest time for which a put waits for slow tiers."""


@runtime_checkable
class _Peekable(Protocol):
    """A tier that can be searched without waiting."""

    def peek(self, key: Digest) -> Rendition | None: ...


@runtime_checkable
class _OnDisk(Protocol):
    """A tier on the disk: find() reads small renditions and opens large ones."""

    async def find(self, key: Digest) -> Rendition | StoredRendition | None: ...

    def has(self, key: Digest) -> bool: ...

    async def find_stale(self, order_key: Digest, *, streams: bool) -> Rendition | StoredRendition | None: ...

    async def drop_stale(self, order_key: Digest) -> None: ...

    async def purge(self, tag_prefix: str, *, soft: bool = False) -> int: ...


@runtime_checkable
class _Listing(Protocol):
    """A tier that can list its entries without waiting."""

    def tagged(self, tag_prefix: str) -> dict[Digest, Rendition]: ...


@runtime_checkable
class _Shared(Protocol):
    """A tier that several servers share. One server purges its entries; each server purges its own queue of writes."""

    async def purge_at(self, tag_prefix: str, at: Position | None) -> int: ...

    async def purge_own(self, tag_prefix: str) -> int: ...


@runtime_checkable
class _Forgetting(Protocol):
    """A tier that the fronts of a host share."""

    async def forget(self, tag_prefix: str) -> None: ...


@runtime_checkable
class _WritingLater(Protocol):
    """A tier that writes in the background."""

    async def written(self, key: Digest) -> None: ...


@runtime_checkable
class _Storing(Protocol):
    """A tier that can store without waiting."""

    def store(self, key: Digest, rendition: Rendition) -> None: ...


class TieredCaches:
    """A Cache that consists of several tiers, the fastest first."""

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self._tiers = tuple(tiers)
        self._peekable = tuple((tier, tier.name) for tier in self._tiers if isinstance(tier, _Peekable))
        self._on_disk = tuple(tier for tier in self._tiers if isinstance(tier, _OnDisk))
        self._storable = tuple(tier for tier in self._tiers if isinstance(tier, _Storing))
        self._waiting = tuple(tier for tier in self._tiers if not isinstance(tier, _Storing))
        self._pending_puts: set[asyncio.Task[None]] = set()
        self._purges = 0
        """Number of purges that have ended."""
        self._purging = 0
        """Number of purges in progress."""

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """The rendition and the name of its tier, or None. Searches only the tiers that need no waiting."""
        for index, (tier, name) in enumerate(self._peekable):
            rendition = tier.peek(key)
            if rendition is not None:
                if index and not self._purging:
                    self._store_above(tier, key, rendition)
                return rendition, name
        return None

    async def peek_again(self, key: Digest, name: str) -> tuple[Rendition, str] | None:
        """Look again for a rendition that another request may have stored after a lookup missed it.

        Searches the tiers that need no waiting, and the tier `name` if it is on disk. Another miss is not counted.
        """
        if (found := self.peek(key)) is not None:
            return found
        is_on_disk = any(tier.has(key) for tier in self._tiers if tier.name == name and isinstance(tier, _OnDisk))
        return await self.lookup(key) if is_on_disk else None

    async def lookup(self, key: Digest) -> tuple[Rendition, str] | None:
        """The rendition and the name of its tier (`memory`, `disk` or `shared`), or None."""
        purges = self._purges
        for tier in self._tiers:
            if (rendition := await tier.get(key)) is not None:
                self._copy_up(tier, key, rendition, purges)
                return rendition, tier.name
        return None

    async def find(self, key: Digest) -> tuple[Rendition | StoredRendition, str] | None:
        """The rendition as lookup() returns it. A large rendition on the disk is an open file, which the caller closes.

        Such a file is not copied into the faster tiers.
        """
        purges = self._purges
        for tier in self._tiers:
            found = await (tier.find(key) if isinstance(tier, _OnDisk) else tier.get(key))
            if found is None:
                continue
            if isinstance(found, Rendition):
                self._copy_up(tier, key, found, purges)
            return found, tier.name
        return None

    async def find_stale(self, order_key: Digest, *, streams: bool) -> Rendition | StoredRendition | None:
        """The rendition of an order on the disk that a soft purge has purged, or None.

        With `streams`, a large rendition is an open file, which the caller closes.
        """
        for tier in self._on_disk:
            if (found := await tier.find_stale(order_key, streams=streams)) is not None:
                return found
        return None

    async def drop_stale(self, order_key: Digest) -> None:
        """Remove the order's stale rendition, because its new rendition is ready."""
        for tier in self._on_disk:
            await tier.drop_stale(order_key)

    def _copy_up(self, lower: Tier, key: Digest, rendition: Rendition, purges: int) -> None:
        """Copy a hit into the faster tiers, unless a purge is running or has ended since the lookup began.

        `purges` is the number of purges that had ended when the lookup began.
        """
        if self._purges == purges and not self._purging:
            for upper in self._tiers[: self._tiers.index(lower)]:
                self._start_put(upper.put(key, rendition))

    async def get(self, key: Digest) -> Rendition | None:
        found = await self.lookup(key)
        return found[0] if found else None

    async def put(self, key: Digest, rendition: Rendition) -> None:
        for near in self._storable:
            near.store(key, rendition)
        if self._waiting:
            puts = [self._start_put(tier.put(key, rendition)) for tier in self._waiting]
            await asyncio.wait(puts, timeout=WRITE_WAIT_S)

    async def written(self, key: Digest, name: str) -> None:
        """Wait until a rendition that was put is in the tier `name` or was dropped."""
        for tier in self._tiers:
            if tier.name == name and isinstance(tier, _WritingLater):
                await tier.written(key)

    def in_memory(self, tag_prefix: str) -> dict[Digest, Rendition]:
        """The renditions in memory that a purge of `tag_prefix` covers."""
        found: dict[Digest, Rendition] = {}
        for tier in self._tiers:
            if isinstance(tier, _Listing):
                found |= tier.tagged(tag_prefix)
        return found

    async def purge(self, tag_prefix: str, at: Position | None = None, *, soft: bool = False) -> int:
        """Purge every tier. Returns the largest count of any tier, since most entries are in several tiers.

        `at` is the position of the purge in the stream of all servers' purges. With `soft`, find_stale() still finds
        the renditions that were on the disk. If a tier fails, raises its Problem after all other tiers have been
        purged.
        """
        return await self._purge(
            tier.purge_at(tag_prefix, at) if isinstance(tier, _Shared) else _purge_own(tier, tag_prefix, soft=soft)
            for tier in self._tiers
        )

    async def purge_own(self, tag_prefix: str, *, soft: bool = False) -> int:
        """Purge every tier except the entries that several servers share. Returns the largest count of any tier.

        Raises Problems as purge() does.
        """
        return await self._purge(_purge_own(tier, tag_prefix, soft=soft) for tier in self._tiers)

    async def forget(self, tag_prefix: str) -> None:
        """Purge the entries of this process except files on the disk, and finish its pending writes.

        When all fronts of a host have done this, no front writes a purged file any more.
        """

        async def forget(tier: Tier) -> int:
            if isinstance(tier, _Forgetting):
                await tier.forget(tag_prefix)
                return 0
            return await _purge_own(tier, tag_prefix)

        await self._purge(forget(tier) for tier in self._tiers)

    async def _purge(self, purges: Iterable[Awaitable[int]]) -> int:
        self._purging += 1
        try:
            await self._wait_for_puts()  # else a put in progress would end after the purge
            results = await asyncio.gather(*purges, return_exceptions=True)
        finally:
            self._purging -= 1
            self._purges += 1
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return max((count for count in results if isinstance(count, int)), default=0)

    async def close(self) -> None:
        await self._wait_for_puts()
        await asyncio.gather(*(tier.close() for tier in self._tiers))

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return self._tiers

    def stats(self) -> tuple[TierStats, ...]:
        """The statistics of each tier, the fastest first."""
        return tuple(tier.stats() for tier in self._tiers)

    def _start_put(self, put: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a put as a task. Tasks start in the order of the calls, so a later purge runs after the put."""
        task = asyncio.create_task(put)
        self._pending_puts.add(task)  # asyncio holds only weak references to tasks
        task.add_done_callback(self._pending_puts.discard)
        return task

    async def _wait_for_puts(self) -> None:
        if self._pending_puts:
            await asyncio.wait(tuple(self._pending_puts))

    def _store_above(self, lower: Tier, key: Digest, rendition: Rendition) -> None:
        above = self._tiers[: self._tiers.index(lower)]
        for tier in self._storable:
            if tier in above:
                tier.store(key, rendition)


def _purge_own(tier: Tier, tag_prefix: str, *, soft: bool = False) -> Coroutine[Any, Any, int]:
    """Purge one tier, except the entries that several servers share."""
    if isinstance(tier, _Shared):
        return tier.purge_own(tag_prefix)
    return tier.purge(tag_prefix, soft=True) if soft and isinstance(tier, _OnDisk) else tier.purge(tag_prefix)
