"""Tiers: read from the quickest that has it, written to all, purged in all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.caches.stats import TierStats
from cropmark.caches.tiered import TieredCaches
from cropmark.model.problems import InternalError
from cropmark.ports import Digest, Rendition
from tests.adapters.renditions import key_of, rendition

A = key_of("a")


class Shared:
    """A tier far away: a dictionary that answers when it is told to."""

    name = "shared"

    def __init__(self) -> None:
        self.kept: dict[Digest, Rendition] = {}
        self.go = asyncio.Event()
        self.go.set()
        self.fails: Exception | None = None
        self.closed = False

    async def get(self, key: Digest) -> Rendition | None:
        found = self.kept.get(key)
        await self.go.wait()
        return found

    async def put(self, key: Digest, rendition: Rendition) -> None:
        self.kept[key] = rendition

    async def purge(self, tag_prefix: str) -> int:
        if self.fails:
            raise self.fails
        gone = len(self.kept)
        self.kept.clear()
        return gone

    async def close(self) -> None:
        self.kept.clear()

    def stats(self) -> TierStats:
        return TierStats(self.name, entries=len(self.kept))


class Near(Shared):
    """One that answers at once, and takes its time to purge."""

    name = "near"

    def peek(self, key: Digest) -> Rendition | None:
        return self.kept.get(key)

    async def get(self, key: Digest) -> Rendition | None:
        return self.kept.get(key)

    async def purge(self, tag_prefix: str) -> int:
        await self.go.wait()
        return await super().purge(tag_prefix)


class Slow(Shared):
    """One that takes its time to keep."""

    async def put(self, key: Digest, rendition: Rendition) -> None:
        await self.go.wait()
        await super().put(key, rendition)

    async def close(self) -> None:
        assert not self.closed
        self.closed = True


async def settled(tiers: TieredCaches) -> None:
    """When all that was begun is kept: purges come after it."""
    await tiers.purge("nothing")


@pytest.fixture
def memory() -> MemoryCache:
    return MemoryCache()


async def test_a_hit_says_where_it_was_found_and_is_above_from_then_on(tmp_path: Path, memory: MemoryCache) -> None:
    disk, shared = DiskCache(tmp_path), Shared()
    tiers = TieredCaches([memory, disk, shared])
    await shared.put(A, rendition())
    assert await tiers.lookup(A) == (rendition(), "shared")
    await settled(tiers)
    assert await disk.get(A) == rendition()
    assert await tiers.lookup(A) == (rendition(), "memory")
    await memory.purge("")
    assert await tiers.lookup(A) == (rendition(), "disk")
    assert await tiers.lookup(key_of("b")) is None
    await tiers.close()


async def test_a_peek_looks_where_it_need_not_wait(tmp_path: Path, memory: MemoryCache) -> None:
    disk, shared = DiskCache(tmp_path), Shared()
    tiers = TieredCaches([memory, disk, shared])
    await shared.put(A, rendition())
    assert tiers.peek(A) is None  # the shared tier would have to be waited for
    await disk.put(A, rendition())
    assert tiers.peek(A) == (rendition(), "disk")
    assert tiers.peek(A) == (rendition(), "memory")
    await tiers.close()


async def test_a_put_reaches_every_tier(tmp_path: Path, memory: MemoryCache) -> None:
    disk, shared = DiskCache(tmp_path), Shared()
    tiers = TieredCaches([memory, disk, shared])
    await tiers.put(A, rendition())
    assert [await tier.get(A) for tier in (memory, disk, shared)] == [rendition()] * 3
    assert await tiers.purge("source:") == 1
    assert [await tier.get(A) for tier in (memory, disk, shared)] == [None] * 3
    await tiers.close()


async def test_what_was_read_before_a_purge_is_not_kept_after_it(memory: MemoryCache) -> None:
    shared = Shared()
    tiers = TieredCaches([memory, shared])
    await shared.put(A, rendition())
    shared.go.clear()
    reading = asyncio.create_task(tiers.lookup(A))
    await asyncio.sleep(0)
    await tiers.purge("source:")
    shared.go.set()
    assert await reading == (rendition(), "shared")  # asked for before the purge, answered
    assert memory.peek(A) is None  # but not kept


async def test_a_peek_during_a_purge_keeps_nothing_either(memory: MemoryCache) -> None:
    near = Near()
    tiers = TieredCaches([memory, near])
    await near.put(A, rendition())
    near.go.clear()
    purging = asyncio.create_task(tiers.purge("source:"))
    await asyncio.sleep(0.01)  # memory is purged, the other tier not yet
    assert tiers.peek(A) == (rendition(), "near")
    assert await tiers.lookup(A) == (rendition(), "near")
    near.go.set()
    await purging
    assert tiers.peek(A) is None


async def test_nobody_waits_long_for_a_slow_tier_and_nothing_is_lost_by_it(memory: MemoryCache) -> None:
    slow = Slow()
    tiers = TieredCaches([memory, slow])
    slow.go.clear()
    async with asyncio.timeout(1):
        await tiers.put(A, rendition())
    assert memory.peek(A) == rendition()
    assert slow.kept == {}
    asyncio.get_running_loop().call_later(0.05, slow.go.set)
    kept = slow.kept
    await tiers.close()
    assert kept == {A: rendition()}


async def test_a_purge_takes_what_is_on_its_way_to_a_slow_tier(memory: MemoryCache) -> None:
    slow = Slow()
    tiers = TieredCaches([memory, slow])
    slow.go.clear()
    await tiers.put(A, rendition())
    asyncio.get_running_loop().call_later(0.02, slow.go.set)
    await tiers.purge("source:")
    assert slow.kept == {}


async def test_a_tier_that_cannot_purge_does_not_save_the_others(memory: MemoryCache) -> None:
    shared = Shared()
    shared.fails = InternalError("the shared cache could not be purged")
    tiers = TieredCaches([memory, shared])
    await tiers.put(A, rendition())
    with pytest.raises(InternalError, match="shared cache"):
        await tiers.purge("source:")
    assert memory.peek(A) is None


async def test_figures_come_tier_by_tier(memory: MemoryCache) -> None:
    tiers = TieredCaches([memory, Shared()])
    await tiers.put(A, rendition())
    assert [(told.name, told.entries) for told in tiers.stats()] == [("memory", 1), ("shared", 1)]
