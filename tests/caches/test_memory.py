"""The memory cache: its limit in bytes, eviction and statistics."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.caches.memory import MemoryCache, weight
from tests.adapters.renditions import key_of, rendition

KIB = 1024
LIMIT_BYTES = 64 * KIB

STEPS = st.lists(
    st.tuples(st.sampled_from(["store", "peek"]), st.integers(0, 12), st.integers(0, 10 * KIB)), max_size=60
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_the_limit_holds_and_a_hit_is_the_last_stored_body(
    steps: list[tuple[str, int, int]],
) -> None:
    cache = MemoryCache(LIMIT_BYTES)
    last: dict[int, int] = {}
    for step, name, size in steps:
        if step == "store":
            cache.store(key_of(str(name)), rendition(body=bytes(size)))
            last[name] = size
        elif (found := cache.peek(key_of(str(name)))) is not None:
            assert len(found.body) == last[name]
        assert cache.stats().bytes <= LIMIT_BYTES
    cached = [found for name in last if (found := cache.peek(key_of(str(name)))) is not None]
    assert cache.stats().bytes == sum(map(weight, cached))


def test_the_least_recently_used_is_evicted_first() -> None:
    cache = MemoryCache(8 * 6 * KIB)
    for name in "abcdefg":
        cache.store(key_of(name), rendition(body=bytes(4 * KIB)))
    cache.peek(key_of("a"))
    for name in "xyz":
        cache.store(key_of(name), rendition(body=bytes(4 * KIB)))
    assert cache.peek(key_of("a")) is not None
    assert cache.peek(key_of("b")) is None
    assert cache.stats().evictions == 2


def test_a_rendition_without_a_body_has_a_weight() -> None:
    assert weight(rendition(body=b"")) > 1_500
    assert weight(rendition(body=b"", tags=("url:/" + "x" * 8_000,))) > 9_500


async def test_statistics() -> None:
    cache = MemoryCache(LIMIT_BYTES)
    await cache.put(key_of("a"), rendition())
    await cache.put(key_of("huge"), rendition(body=bytes(LIMIT_BYTES)))
    await cache.get(key_of("a"))
    cache.peek(key_of("a"))
    cache.peek(key_of("b"))  # a peek counts only hits: get() follows a miss
    await cache.get(key_of("b"))
    stats = cache.stats()
    assert (stats.name, stats.entries, stats.limit_bytes) == ("memory", 1, LIMIT_BYTES)
    assert stats.bytes == weight(rendition())
    assert (stats.hits, stats.misses, stats.skipped, stats.evictions) == (2, 1, 1, 0)
