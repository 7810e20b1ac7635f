"""Several cache tiers as one.

- A lookup asks the tiers from the fastest to the slowest and copies a hit into the faster ones.
- A put writes to every tier; after WRITE_WAIT_S the caller continues and the slow tiers finish in the background.
- A purge waits for the puts in progress, then covers every tier. A rendition read before or during a purge is not
  copied into another tier, since it may be the purged one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from cropmark.caches.stats import Tier, TierStats
from cropmark.ports import Digest, Rendition

WRITE_WAIT_S: Final = 0.05
"""Longest wait of a put for slow tiers: a disk may take seconds while its entries are counted."""


@runtime_checkable
class _Peekable(Protocol):
    """A tier that can be searched without waiting."""

    def peek(self, key: Digest) -> Rendition | None: ...


@runtime_checkable
class _Storing(Protocol):
    """A tier that can store without waiting."""

    def store(self, key: Digest, rendition: Rendition) -> None: ...


class TieredCaches:
    """A Cache made of tiers, the fastest first."""

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self._tiers = tuple(tiers)
        self._peekable = tuple((tier, tier.name) for tier in self._tiers if isinstance(tier, _Peekable))
        self._storable = tuple(tier for tier in self._tiers if isinstance(tier, _Storing))
        self._pending_puts: set[asyncio.Task[None]] = set()
        self._purges = 0
        """Purges that have ended."""
        self._purging = 0
        """Purges in progress."""

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """The rendition and the name of its tier, from the tiers that need no waiting."""
        for index, (tier, name) in enumerate(self._peekable):
            rendition = tier.peek(key)
            if rendition is not None:
                if index and not self._purging:
                    self._store_above(tier, key, rendition)
                return rendition, name
        return None

    async def lookup(self, key: Digest) -> tuple[Rendition, str] | None:
        """The rendition and the name of its tier: `memory`, `disk` or `shared`."""
        purges = self._purges
        for index, tier in enumerate(self._tiers):
            rendition = await tier.get(key)
            if rendition is None:
                continue
            if self._purges == purges and not self._purging:
                for upper in self._tiers[:index]:
                    self._start_put(upper.put(key, rendition))
            return rendition, tier.name
        return None

    async def get(self, key: Digest) -> Rendition | None:
        found = await self.lookup(key)
        return found[0] if found else None

    async def put(self, key: Digest, rendition: Rendition) -> None:
        puts = [self._start_put(tier.put(key, rendition)) for tier in self._tiers]
        await asyncio.wait(puts, timeout=WRITE_WAIT_S)

    async def purge(self, tag_prefix: str) -> int:
        """Purge every tier; returns the largest count of one tier, since most entries are in several tiers.

        Raises the Problem of a failed tier after all tiers have been purged.
        """
        self._purging += 1
        try:
            await self._wait_for_puts()  # else a put in progress would end after the purge
            results = await asyncio.gather(*(tier.purge(tag_prefix) for tier in self._tiers), return_exceptions=True)
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

    def stats(self) -> tuple[TierStats, ...]:
        """The statistics of each tier, the fastest first."""
        return tuple(tier.stats() for tier in self._tiers)

    def _start_put(self, put: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Tasks start in the order of these calls, so that a later purge runs after the put."""
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
