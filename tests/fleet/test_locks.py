"""One render per image over servers that share a Redis and a store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from cropmark.caches.memory import MemoryCache
from cropmark.caches.shared import SharedCache
from cropmark.caches.tiered import TieredCaches
from cropmark.fleet.link import RedisLink
from cropmark.fleet.locks import RedisLocks
from cropmark.model.problems import Unprocessable
from cropmark.pipeline import Pipeline, cache_key
from cropmark.ports import Digest, Rendition
from cropmark.runtime.metrics import Metrics
from tests.adapters.renditions import key_of
from tests.builders import until
from tests.library.redis_server import is_here, redis_server
from tests.ports import free_port
from tests.requirements import require
from tests.test_pipeline import RENDERED, FakeRenderers, FakeSource, Fixture, order

pytestmark = require("redis-server", is_here())


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    with redis_server() as url:
        yield url


class NotedLocks(RedisLocks):
    """Notes if another server had a lock."""

    was_refused = False

    async def acquire(self, key: Digest) -> str | None:
        token = await super().acquire(key)
        self.was_refused |= token is None
        return token


def server(folder: Path, url: str, store: MemoryStore, lock_s: float = 5.0) -> Fixture:
    renderers, metrics = FakeRenderers(RENDERED), Metrics()
    caches = TieredCaches([MemoryCache(2**20), SharedCache(store, read_s=5)])
    locks = NotedLocks(RedisLink(url), lock_s)
    pipeline = Pipeline(cache=caches, renderers=renderers, metrics=metrics, locks=locks)
    return Fixture(FakeSource(folder, {f"{n}.jpg": f"{folder}" for n in range(9)}), renderers, metrics, pipeline)


async def test_servers_render_an_image_once(redis: str, tmp_path: Path) -> None:
    store = MemoryStore()
    servers = [server(tmp_path, redis, store) for _ in range(4)]
    locks = [each.pipeline._locks for each in servers]
    for n in range(3):
        go = asyncio.Event()
        for each in servers:
            each.renderers.before = go.wait
            each.pipeline._locks.was_refused = False  # type: ignore[union-attr]  # NotedLocks
        requests = asyncio.gather(*(each.deliver(order(f"{n}.jpg")) for each in servers for _ in range(3)))
        await until(lambda: sum(each.was_refused for each in locks) == 3)  # type: ignore[union-attr]  # NotedLocks
        go.set()
        found = await requests
        assert {each.body for each in found} == {RENDERED.body}
        assert sorted({each.cache_status for each in found}) == ["hit-shared", "miss"]
    assert sum(each.renderers.renders for each in servers) == 3


async def test_a_server_that_looked_before_another_one_rendered_looks_again(redis: str, tmp_path: Path) -> None:
    store, looked, go = MemoryStore(), asyncio.Event(), asyncio.Event()
    one, two = (server(tmp_path, redis, store) for _ in range(2))
    caches = two.pipeline._cache
    assert isinstance(caches, TieredCaches)
    shared = caches.tiers[1]
    look = shared.get

    async def look_slowly(key: Digest) -> Rendition | None:
        found = await look(key)
        looked.set()
        await go.wait()
        return found

    shared.get = look_slowly  # type: ignore[method-assign]  # only the first time
    later = asyncio.create_task(two.deliver(order("8.jpg")))
    await looked.wait()
    shared.get = look  # type: ignore[method-assign]
    assert (await one.deliver(order("8.jpg"))).cache_status == "miss"
    await asyncio.gather(*one.pipeline._releasing)
    go.set()
    assert (await later).cache_status == "hit-shared"


async def test_a_dead_holder_costs_one_wait(redis: str, tmp_path: Path) -> None:
    line = server(tmp_path, redis, MemoryStore(), lock_s=0.5)
    dead = RedisLocks(RedisLink(redis), lock_s=60)
    key = line.pipeline.fingerprint_of(order())  # any order: the key is that of the render
    versions = [line.source.stat(order("1.jpg").sources[0].ref)]
    assert await dead.acquire(cache_key(versions, key))
    began_s = time.monotonic()
    assert (await line.deliver(order("1.jpg"))).cache_status == "miss"
    assert 0.4 < time.monotonic() - began_s < 30


async def test_a_failed_render_ends_the_lock(redis: str, tmp_path: Path) -> None:
    one, two = (server(tmp_path, redis, MemoryStore(), lock_s=60) for _ in range(2))
    one.renderers.outcome = Unprocessable("no")
    with pytest.raises(Unprocessable):
        await one.deliver(order("2.jpg"))
    began_s = time.monotonic()
    assert (await two.deliver(order("2.jpg"))).cache_status == "miss"
    assert time.monotonic() - began_s < 10


async def test_only_its_holder_ends_a_lock(redis: str) -> None:
    one, two = (RedisLocks(RedisLink(redis)) for _ in range(2))
    token = await one.acquire(key_of("a"))
    assert token
    assert await two.acquire(key_of("a")) is None
    await two.release(key_of("a"), "another token")
    assert await two.acquire(key_of("a")) is None
    await one.release(key_of("a"), token)
    assert await two.acquire(key_of("a")) is None  # until it has looked into the cache
    await two.wait(key_of("a"), time.monotonic() + 5)
    assert await two.acquire(key_of("a"))


async def test_without_redis_renders_go_on(tmp_path: Path) -> None:
    line = server(tmp_path, f"redis://127.0.0.1:{free_port()}/0", MemoryStore(), lock_s=60)
    began_s = time.monotonic()
    for n in range(5):
        assert (await line.deliver(order(f"{n}.jpg"))).cache_status == "miss"
    assert time.monotonic() - began_s < 10
