"""The behavior of every Cache, alone and in tiers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from obstore.store import LocalStore, MemoryStore

from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.caches.shared import TIMES, SharedCache
from cropmark.caches.stats import Tier
from cropmark.caches.tiered import TieredCaches
from cropmark.geometry.recipe import Reason
from cropmark.ports import Cache, Digest, Rendition
from cropmark.runtime.object_store import open_store
from tests.adapters.renditions import key_of, rendition
from tests.builders import until
from tests.s3_server import BUCKET, S3Server

KIB = 1024
LIMIT_BYTES = 256 * KIB

NOW_S = 1_800_000_000.0


def memory(folder: Path) -> Tier:
    return MemoryCache(LIMIT_BYTES, now=lambda: NOW_S)


def disk(folder: Path) -> Tier:
    return DiskCache(folder, LIMIT_BYTES, now=lambda: NOW_S)


class WrittenTiers(TieredCaches):
    """A put waits until the disk has written the rendition, which it finds in memory until then, also a large one."""

    def __init__(self, memory: Tier, disk: DiskCache) -> None:
        super().__init__([memory, disk])
        self._disk = disk

    async def put(self, key: Digest, rendition: Rendition) -> None:
        await super().put(key, rendition)
        self._disk._behind.flush()
        await until(lambda: not self._disk._behind.bytes)


def tiers(folder: Path) -> Cache:
    return WrittenTiers(memory(folder), DiskCache(folder, LIMIT_BYTES, now=lambda: NOW_S))


class FlushedCache(SharedCache):
    """A put waits until the entry is in the store, so that get() reads it from there."""

    async def put(self, key: Digest, rendition: Rendition) -> None:
        await super().put(key, rendition)
        await self.flush(20)


def shared(store: Any) -> SharedCache:
    # The store sets the time of an entry by its own clock, hence the long TTL.
    return FlushedCache(store, queue_bytes=LIMIT_BYTES, read_s=20, ttl_s=3e9, now=lambda: NOW_S)


def shared_in_memory(folder: Path) -> Tier:
    return shared(MemoryStore())


def shared_in_a_folder(folder: Path) -> Tier:
    return shared(LocalStore(folder, mkdir=True))


def shared_in_s3(request: pytest.FixtureRequest, folder: Path) -> Tier:
    server: S3Server = request.getfixturevalue("s3")
    url = f"s3://{BUCKET}/cache/{request.node.name}-{folder.parent.name}"
    return shared(open_store(quote(url, safe=":/"), "test", TIMES, options=server.options))


@pytest.fixture(params=[memory, disk, tiers, shared_in_memory, shared_in_a_folder, "s3"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cache]:
    make: Callable[[Path], Cache] | str = request.param
    folder = tmp_path / "cache"
    opened = shared_in_s3(request, folder) if isinstance(make, str) else make(folder)
    yield opened
    await opened.close()


RENDITIONS = [
    rendition(),
    rendition(body=b""),
    rendition(body=bytes(20 * KIB)),
    rendition("ほし/ü ñ.png"),
    replace(rendition(body=b""), record=replace(rendition().record, original=Reason.NO_GAIN, length=2_500_000)),
    rendition(expires_s=NOW_S + 0.5),
]


@pytest.mark.parametrize("stored", RENDITIONS)
async def test_get_returns_the_stored_rendition(cache: Cache, stored: Rendition) -> None:
    await cache.put(key_of("a"), stored)
    assert await cache.get(key_of("a")) == stored
    assert await cache.get(key_of("b")) is None


async def test_a_put_replaces_the_older_rendition(cache: Cache) -> None:
    await cache.put(key_of("a"), rendition(body=b"old"))
    await cache.put(key_of("a"), rendition(body=b"new, and longer"))
    assert await cache.get(key_of("a")) == rendition(body=b"new, and longer")


@pytest.mark.parametrize("expires_s", [NOW_S, NOW_S - 0.001, 0.0])
async def test_an_expired_rendition_is_not_returned(cache: Cache, expires_s: float) -> None:
    await cache.put(key_of("a"), rendition(expires_s=expires_s))
    assert await cache.get(key_of("a")) is None


# fmt: off
PURGES = [
    # prefix                    purged                           of sky/a.jpg, sky/b.jpg, sea/a.jpg
    ("source:files:sky/a.jpg\n", {"sky/a.jpg"}),
    ("source:files:sky/",       {"sky/a.jpg", "sky/b.jpg"}),
    ("source:",                 {"sky/a.jpg", "sky/b.jpg", "sea/a.jpg"}),
    ("tag:summer\n",            {"sky/a.jpg", "sky/b.jpg", "sea/a.jpg"}),
    ("url:/sky/a.jpg?w=1\n",    {"sky/a.jpg"}),
    ("url:/sky/",               {"sky/a.jpg", "sky/b.jpg"}),
    ("files:sky/",              set()),                          # not the start of a tag
    ("source:files:sky/a.jpg?", set()),
]
# fmt: on


@pytest.mark.parametrize(("prefix", "purged"), PURGES)
async def test_a_purge_covers_entries_with_such_a_tag(cache: Cache, prefix: str, purged: set[str]) -> None:
    names = ("sky/a.jpg", "sky/b.jpg", "sea/a.jpg")
    for name in names:
        await cache.put(key_of(name), rendition(name, tags=(f"url:/{name}?w=1\n", "tag:summer\n")))
    count = await cache.purge(prefix)
    assert count == (0 if isinstance(cache, SharedCache) else len(purged))  # it does not look for entries
    assert {name for name in names if await cache.get(key_of(name)) is None} == purged


async def test_a_purge_covers_puts_in_progress(cache: Cache) -> None:
    puts = [asyncio.ensure_future(cache.put(key_of(str(n)), rendition(body=bytes(9 * KIB)))) for n in range(8)]
    await asyncio.sleep(0)  # they have started
    await cache.purge("source:")
    await asyncio.gather(*puts)
    assert [await cache.get(key_of(str(n))) for n in range(8)] == [None] * 8


async def test_an_entry_is_at_most_an_eighth_of_the_tier(cache: Cache) -> None:
    await cache.put(key_of("small"), rendition(body=bytes(LIMIT_BYTES // 8 - 4 * KIB)))
    await cache.put(key_of("large"), rendition(body=bytes(LIMIT_BYTES // 8 + 1)))
    assert await cache.get(key_of("small")) is not None
    assert await cache.get(key_of("large")) is None


async def test_a_replacement_that_is_too_large_removes_the_entry(cache: Cache) -> None:
    await cache.put(key_of("a"), rendition(body=b"old"))
    await cache.put(key_of("a"), rendition(body=bytes(LIMIT_BYTES)))
    assert await cache.get(key_of("a")) is None


# A shared cache evicts nothing; the bucket's lifecycle rule does.
@pytest.mark.parametrize("cache", [memory, disk, tiers], indirect=True)
async def test_the_oldest_entries_are_evicted_first(cache: Cache) -> None:
    for n in range(40):
        await cache.put(key_of(str(n)), rendition(body=bytes(16 * KIB)))
    found = [n for n in range(40) if await cache.get(key_of(str(n))) is not None]
    assert found == list(range(found[0], 40))
    assert 5 <= len(found) <= 16
