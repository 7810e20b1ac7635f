"""Tiered caches: lookup order, copies into faster tiers, puts and purges of all tiers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.caches.stats import TierStats
from cropmark.caches.tiered import TieredCaches
from cropmark.model.problems import InternalError
from cropmark.ports import Digest, Rendition, StoredRendition
from tests.adapters.renditions import key_of, rendition

A, B = key_of("a"), key_of("b")


class SharedTier:
    """A remote tier: a dictionary that responds when `go` is set."""

    name = "shared"

    def __init__(self) -> None:
        self.entries: dict[Digest, Rendition] = {}
        self.go = asyncio.Event()
        self.go.set()
        self.fails: Exception | None = None
        self.closed = False

    async def get(self, key: Digest) -> Rendition | None:
        found = self.entries.get(key)
        await self.go.wait()
        return found

    async def put(self, key: Digest, rendition: Rendition) -> None:
        self.entries[key] = rendition

    async def purge(self, tag_prefix: str) -> int:
        if self.fails:
            raise self.fails
        count = len(self.entries)
        self.entries.clear()
        return count

    async def close(self) -> None:
        self.entries.clear()

    def stats(self) -> TierStats:
        return TierStats(self.name, entries=len(self.entries))


class NearTier(SharedTier):
    """A tier with peek() and a slow purge()."""

    name = "near"

    def peek(self, key: Digest) -> Rendition | None:
        return self.entries.get(key)

    async def get(self, key: Digest) -> Rendition | None:
        return self.entries.get(key)

    async def purge(self, tag_prefix: str) -> int:
        await self.go.wait()
        return await super().purge(tag_prefix)


class SlowTier(SharedTier):
    """A tier with a slow put()."""

    async def put(self, key: Digest, rendition: Rendition) -> None:
        await self.go.wait()
        await super().put(key, rendition)

    async def close(self) -> None:
        assert not self.closed
        self.closed = True


async def wait_for_puts(tiers: TieredCaches) -> None:
    """Wait for the pending puts, as a purge does."""
    await tiers.purge("nothing")


@pytest.fixture
def memory() -> MemoryCache:
    return MemoryCache()


async def test_a_hit_is_copied_into_the_faster_tiers(tmp_path: Path, memory: MemoryCache) -> None:
    disk, shared = DiskCache(tmp_path), SharedTier()
    tiers = TieredCaches([memory, disk, shared])
    await shared.put(A, rendition())
    assert await tiers.lookup(A) == (rendition(), "shared")
    await wait_for_puts(tiers)
    assert await disk.get(A) == rendition()
    assert await tiers.lookup(A) == (rendition(), "memory")
    await memory.purge("")
    assert await tiers.lookup(A) == (rendition(), "disk")
    assert await tiers.lookup(key_of("b")) is None
    await tiers.close()


async def test_peek_searches_only_tiers_without_waiting(tmp_path: Path, memory: MemoryCache) -> None:
    disk, shared = DiskCache(tmp_path), SharedTier()
    tiers = TieredCaches([memory, disk, shared])
    await shared.put(A, rendition())
    assert tiers.peek(A) is None  # the shared tier has no peek()
    await disk.put(A, rendition())
    assert tiers.peek(A) == (rendition(), "disk")
    assert tiers.peek(A) == (rendition(), "memory")
    await tiers.close()


async def test_a_put_reaches_every_tier(tmp_path: Path, memory: MemoryCache) -> None:
    disk, shared = DiskCache(tmp_path), SharedTier()
    tiers = TieredCaches([memory, disk, shared])
    await tiers.put(A, rendition())
    assert [await tier.get(A) for tier in (memory, disk, shared)] == [rendition()] * 3
    assert await tiers.purge("source:") == 1
    assert [await tier.get(A) for tier in (memory, disk, shared)] == [None] * 3
    await tiers.close()


async def test_a_rendition_read_before_a_purge_is_not_copied_after_it(memory: MemoryCache) -> None:
    shared = SharedTier()
    tiers = TieredCaches([memory, shared])
    await shared.put(A, rendition())
    shared.go.clear()
    reading = asyncio.create_task(tiers.lookup(A))
    await asyncio.sleep(0)
    await tiers.purge("source:")
    shared.go.set()
    assert await reading == (rendition(), "shared")  # requested before the purge
    assert memory.peek(A) is None  # but not copied


async def test_a_peek_during_a_purge_copies_nothing(memory: MemoryCache) -> None:
    near = NearTier()
    tiers = TieredCaches([memory, near])
    await near.put(A, rendition())
    near.go.clear()
    purging = asyncio.create_task(tiers.purge("source:"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # memory is purged, the other tier not yet
    assert tiers.peek(A) == (rendition(), "near")
    assert await tiers.lookup(A) == (rendition(), "near")
    near.go.set()
    await purging
    assert tiers.peek(A) is None


async def test_a_put_into_a_slow_tier_continues_in_the_background(memory: MemoryCache) -> None:
    slow = SlowTier()
    tiers = TieredCaches([memory, slow])
    slow.go.clear()
    async with asyncio.timeout(1):
        await tiers.put(A, rendition())
    assert memory.peek(A) == rendition()
    assert slow.entries == {}
    asyncio.get_running_loop().call_later(0.05, slow.go.set)
    entries = slow.entries
    await tiers.close()
    assert entries == {A: rendition()}


async def test_a_purge_covers_a_pending_put(memory: MemoryCache) -> None:
    slow = SlowTier()
    tiers = TieredCaches([memory, slow])
    slow.go.clear()
    await tiers.put(A, rendition())
    asyncio.get_running_loop().call_later(0.02, slow.go.set)
    await tiers.purge("source:")
    assert slow.entries == {}


async def test_a_failed_purge_of_one_tier_does_not_stop_the_others(memory: MemoryCache) -> None:
    shared = SharedTier()
    shared.fails = InternalError("the shared cache could not be purged")
    tiers = TieredCaches([memory, shared])
    await tiers.put(A, rendition())
    with pytest.raises(InternalError, match="shared cache"):
        await tiers.purge("source:")
    assert memory.peek(A) is None


async def test_statistics_per_tier(memory: MemoryCache) -> None:
    tiers = TieredCaches([memory, SharedTier()])
    await tiers.put(A, rendition())
    assert [(stats.name, stats.entries) for stats in tiers.stats()] == [("memory", 1), ("shared", 1)]


async def test_a_large_rendition_is_found_on_the_disk_and_not_copied(tmp_path: Path, memory: MemoryCache) -> None:
    large, small = rendition(body=bytes(400 * 1024)), rendition(body=bytes(300 * 1024))
    disk = DiskCache(tmp_path, read_bytes=350 * 1024)
    await disk.put(A, large)
    await disk.put(B, small)
    caches = TieredCaches([memory, disk])
    found = await caches.find(A)
    assert found is not None
    assert isinstance(found[0], StoredRendition)
    found[0].close()
    assert await caches.find(B) == (small, "disk")
    await caches.purge("nothing")  # waits for copies in progress
    assert (memory.peek(A), memory.peek(B)) == (None, small)
    assert await caches.lookup(A) == (large, "disk")
    await caches.close()
