"""Renditions in memory: bounded by bytes, the least recently used go first."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.caches.memory import MemoryCache, weight
from tests.adapters.renditions import key_of, rendition

KIB = 1024
LIMIT_BYTES = 64 * KIB

STEPS = st.lists(
    st.tuples(st.sampled_from(["keep", "peek"]), st.integers(0, 12), st.integers(0, 10 * KIB)), max_size=60
)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_it_never_holds_more_than_its_limit_and_never_answers_with_another_body(
    steps: list[tuple[str, int, int]],
) -> None:
    cache = MemoryCache(LIMIT_BYTES)
    last: dict[int, int] = {}
    for step, name, size in steps:
        if step == "keep":
            cache.store(key_of(str(name)), rendition(body=bytes(size)))
            last[name] = size
        elif (found := cache.peek(key_of(str(name)))) is not None:
            assert len(found.body) == last[name]
        assert cache.stats().bytes <= LIMIT_BYTES
    held = [found for name in last if (found := cache.peek(key_of(str(name)))) is not None]
    assert cache.stats().bytes == sum(map(weight, held))


def test_what_was_looked_at_stays_longer() -> None:
    cache = MemoryCache(8 * 6 * KIB)
    for name in "abcdefg":
        cache.store(key_of(name), rendition(body=bytes(4 * KIB)))
    cache.peek(key_of("a"))
    for name in "xyz":
        cache.store(key_of(name), rendition(body=bytes(4 * KIB)))
    assert cache.peek(key_of("a")) is not None
    assert cache.peek(key_of("b")) is None
    assert cache.stats().evictions == 2


def test_a_verdict_without_a_body_weighs_too() -> None:
    assert weight(rendition(body=b"")) > 1_500
    assert weight(rendition(body=b"", tags=("url:/" + "x" * 8_000,))) > 9_500


async def test_figures() -> None:
    cache = MemoryCache(LIMIT_BYTES)
    await cache.put(key_of("a"), rendition())
    await cache.put(key_of("huge"), rendition(body=bytes(LIMIT_BYTES)))
    await cache.get(key_of("a"))
    cache.peek(key_of("a"))
    cache.peek(key_of("b"))  # a peek counts no miss: get() follows it
    await cache.get(key_of("b"))
    told = cache.stats()
    assert (told.name, told.entries, told.limit_bytes) == ("memory", 1, LIMIT_BYTES)
    assert told.bytes == weight(rendition())
    assert (told.hits, told.misses, told.skipped, told.evictions) == (2, 1, 1, 0)
