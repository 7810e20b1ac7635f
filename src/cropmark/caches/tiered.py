"""The tiers of the cache as one: read from the quickest that has it, written to all, purged in all."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from cropmark.caches.stats import Tier, TierStats
from cropmark.ports import Digest, Rendition

PATIENCE_S: Final = 0.05
"""How long an answer waits for its being kept: a disk that is being counted, or a distant tier, may take seconds."""


@runtime_checkable
class _Peekable(Protocol):
    """A tier that can answer at once."""

    def peek(self, key: Digest) -> Rendition | None: ...


@runtime_checkable
class _Storing(Protocol):
    """A tier that can keep at once."""

    def store(self, key: Digest, rendition: Rendition) -> None: ...


class TieredCaches:
    """A Cache of caches, the quickest first. What a lower one had is put into those above it."""

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self._tiers = tuple(tiers)
        self._peeked = tuple((tier, tier.name) for tier in self._tiers if isinstance(tier, _Peekable))
        self._keeping = tuple(tier for tier in self._tiers if isinstance(tier, _Storing))
        self._putting: set[asyncio.Task[None]] = set()
        self._purges = 0
        self._purging = 0

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """The rendition and the name of its tier, if any can tell at once."""
        for place, (tier, name) in enumerate(self._peeked):
            found = tier.peek(key)
            if found is not None:
                if place and not self._purging:
                    self._keep_above(tier, key, found)
                return found, name
        return None

    async def lookup(self, key: Digest) -> tuple[Rendition, str] | None:
        """The rendition, and which tier had it: `memory`, `disk`, `shared`."""
        purges = self._purges
        for place, tier in enumerate(self._tiers):
            found = await tier.get(key)
            if found is None:
                continue
            for upper in self._tiers[:place]:
                # Read before or during a purge, it may be just what is purged.
                if self._purges == purges and not self._purging:
                    self._begin(upper.put(key, found))
            return found, tier.name
        return None

    async def get(self, key: Digest) -> Rendition | None:
        found = await self.lookup(key)
        return found[0] if found else None

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Keep it in every tier. What a tier has not done in PATIENCE_S, it goes on with while the answer leaves."""
        begun = [self._begin(tier.put(key, rendition)) for tier in self._tiers]
        await asyncio.wait(begun, timeout=PATIENCE_S)

    async def purge(self, tag_prefix: str) -> int:
        """Forget in every tier; the largest number that one of them had, since most are in several.

        A tier that fails does not save the others: its Problem is raised when all have ended.
        """
        self._purging += 1
        try:
            await self._settled()  # else what is on its way would come after the purge
            told = await asyncio.gather(*(tier.purge(tag_prefix) for tier in self._tiers), return_exceptions=True)
        finally:
            self._purging -= 1
            self._purges += 1
        for failure in told:
            if isinstance(failure, BaseException):
                raise failure
        return max((count for count in told if isinstance(count, int)), default=0)

    async def close(self) -> None:
        await self._settled()
        await asyncio.gather(*(tier.close() for tier in self._tiers))

    def stats(self) -> tuple[TierStats, ...]:
        """The figures of each tier, the quickest first."""
        return tuple(tier.stats() for tier in self._tiers)

    def _begin(self, put: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Started in the order of calls, so that a purge that is called later comes later."""
        task = asyncio.create_task(put)
        self._putting.add(task)  # asyncio itself would not keep it alive
        task.add_done_callback(self._putting.discard)
        return task

    async def _settled(self) -> None:
        if self._putting:
            await asyncio.wait(tuple(self._putting))

    def _keep_above(self, lower: Tier, key: Digest, found: Rendition) -> None:
        above = self._tiers[: self._tiers.index(lower)]
        for tier in self._keeping:
            if tier in above:
                tier.store(key, found)
