"""The shared cache: its entries, queue, purges by marks, and a store that fails or hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import structlog
from obstore.store import LocalStore, MemoryStore

from cropmark.caches import purge_marks, shared
from cropmark.caches.purge_marks import PurgeMarks
from cropmark.caches.shared import TIMES, SharedCache
from cropmark.model.problems import InternalError
from cropmark.ports import RENDER_VERSION, Rendition, SourceVersion
from cropmark.runtime.breaker import FAILURES_IN_A_ROW, FIRST_PAUSE_S, LONGEST_PAUSE_S, CircuitBreaker
from cropmark.runtime.object_store import open_store
from tests.adapters.renditions import key_of, rendition
from tests.builders import Clock, until
from tests.sources.origins import Origin, ReceivedRequest, Send, origin, reply

A, B = key_of("a"), key_of("b")
PATH_OF_A = f"r{RENDER_VERSION}/{A[:2]}/{A}"

Make = Callable[..., SharedCache]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Creates caches, one per server; closes them at the end."""
    caches: list[SharedCache] = []

    def new(store: Any, **more: Any) -> SharedCache:
        caches.append(SharedCache(store, **{"read_s": 5, **more}))
        return caches[-1]

    yield new
    for cache in caches:
        await cache.close()


async def stored(cache: SharedCache, name: str, what: Rendition) -> None:
    await cache.put(key_of(name), what)
    await cache.flush(10)


# ------------------------------------------------------------------------------------------ entries


async def test_a_second_server_reads_the_entry_of_the_first(make: Make) -> None:
    store = MemoryStore()
    await stored(make(store), "a", rendition())
    other = make(store)
    assert await other.get(A) == rendition()
    assert (other.stats().hits, other.stats().misses) == (1, 0)
    assert [entry["path"] for page in obstore.list(store) for entry in page] == [PATH_OF_A]


async def test_a_put_does_not_wait_and_is_readable_before_it_is_written(make: Make) -> None:
    store = MemoryStore()
    cache = make(store)
    await cache.put(A, rendition())
    assert [page for page in obstore.list(store) if page] == []
    assert await cache.get(A) == rendition()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:40], lambda _: b"", lambda d: d + b"x"])
async def test_a_damaged_entry_is_a_miss_and_is_deleted(make: Make, damage: Callable[[bytes], bytes]) -> None:
    store = MemoryStore()
    cache = make(store)
    await stored(cache, "a", rendition())
    data = bytes(obstore.get(store, PATH_OF_A).bytes())
    obstore.put(store, PATH_OF_A, damage(data))
    assert await cache.get(A) is None
    await cache.flush(10)
    assert cache.stats().damaged == 1
    with pytest.raises(FileNotFoundError):
        obstore.get(store, PATH_OF_A)


async def test_every_flipped_bit_is_found(make: Make) -> None:
    store = MemoryStore()
    cache = make(store)
    await stored(cache, "a", rendition(body=b"body"))
    data = bytes(obstore.get(store, PATH_OF_A).bytes())
    for at in range(0, len(data), 7):
        obstore.put(store, PATH_OF_A, data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        assert await cache.get(A) is None
        await cache.flush(10)


async def test_the_entry_of_another_key_is_not_returned(make: Make) -> None:
    store = MemoryStore()
    cache = make(store)
    await stored(cache, "b", rendition())
    obstore.put(store, PATH_OF_A, obstore.get(store, PATH_OF_A.replace(A, B).replace(A[:2], B[:2])).bytes())
    assert await cache.get(A) is None


async def test_a_foreign_object_is_not_read_into_memory(make: Make) -> None:
    store = MemoryStore()
    obstore.put(store, PATH_OF_A, bytes(1_000_000))
    cache = make(store, queue_bytes=800_000)
    assert await cache.get(A) is None
    assert cache.stats().damaged == 1


async def test_entries_older_than_the_ttl_are_misses(make: Make) -> None:
    store = MemoryStore()
    await stored(make(store), "a", rendition())
    modified_s = obstore.head(store, PATH_OF_A)["last_modified"].timestamp()
    assert await make(store, ttl_s=100, now=lambda: modified_s + 99).get(A) is not None
    assert await make(store, ttl_s=100, now=lambda: modified_s + 101).get(A) is None


async def test_private_results_stay_on_this_server(make: Make) -> None:
    store = MemoryStore()
    cache = make(store)
    version = SourceVersion("web:https://a.example/x", "1-private", private=True)
    await stored(cache, "a", replace(rendition(), record=replace(rendition().record, versions=(version,))))
    assert await cache.get(A) is None
    assert cache.stats().skipped == 1


async def test_large_entries_are_read_and_written(make: Make, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store", mkdir=True)
    large = rendition(body=bytes(shared._INLINE_BYTES + 5))
    await stored(make(store), "a", large)
    assert await make(store).get(A) == large


# ------------------------------------------------------------------------------------------ purges


@pytest.mark.parametrize("kind", ["memory", "folder"])
async def test_a_purge_reaches_other_servers_and_newer_entries_count(make: Make, kind: str, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else LocalStore(tmp_path / "store", mkdir=True)
    first = make(store)
    await stored(first, "a", rendition("a.jpg"))
    await stored(first, "b", rendition("b.jpg"))
    await first.purge("source:files:a.jpg\n")
    other = make(store)
    assert await other.get(A) is None
    assert await other.get(B) == rendition("b.jpg")
    await asyncio.sleep(0.02)  # the clock of a file system has steps of some milliseconds
    await stored(other, "a", rendition("a.jpg", b"new"))
    assert await first.get(A) == rendition("a.jpg", b"new")


async def test_marks_of_others_are_read_while_the_cache_is_used() -> None:
    store, clock = MemoryStore(), Clock()
    one, other = PurgeMarks(store, clock), PurgeMarks(store, clock)
    await other.current()
    await one.add("source:files:sky/")
    stored_s = 0.0
    assert not other.covers(["source:files:sky/a.jpg\n"], stored_s)
    clock.now += purge_marks.REFRESH_S
    await other.current()
    await until(lambda: other.covers(["source:files:sky/a.jpg\n"], stored_s))  # in the background
    assert not other.covers(["source:files:sea/a.jpg\n"], 0)
    await one.add("tag:summer\n")
    clock.now += purge_marks.STALE_S
    await other.current()  # waits
    assert other.covers(["x", "tag:summer\n"], stored_s)


PREFIXES = ["", "source:", "source:files:ほし/ü ñ.png\n", "url:/a?b=-_\n", "x" * 2000, "a\udc80b", "ü" * 300]


@pytest.mark.parametrize("kind", ["memory", "folder"])
@pytest.mark.parametrize("prefix", PREFIXES)
async def test_every_prefix_fits_the_name_of_a_mark(prefix: str, kind: str, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else LocalStore(tmp_path / "store", mkdir=True)
    await PurgeMarks(store).add(prefix)
    marks = PurgeMarks(store)
    await marks.current()
    assert marks.covers([f"{prefix}and more"], 0)


async def test_a_mark_with_a_position_covers_what_was_begun_before_it() -> None:
    store = MemoryStore()
    writer, reader = PurgeMarks(store), PurgeMarks(store)
    await writer.add("tag:summer\n", (9, 2))
    await reader.current()
    for marks in (writer, reader):
        for stored_s, seen, is_covered in (
            (0, (9, 1), True),
            (4e9, (9, 1), True),  # by a server that reads the purge late
            (0, (9, 2), False),
            (4e9, (9, 2), False),
            (0, None, True),
            (4e9, None, False),
        ):
            assert marks.covers(["tag:summer\n"], stored_s, seen) is is_covered, (stored_s, seen)
        assert marks.covers(["tag:summer\n"], 0)  # of a server that knows no positions
    await writer.add("tag:summer\n")
    assert writer.covers(["tag:summer\n"], 0, (9, 2))


async def test_many_marks_purge_everything_older(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_marks, "MAX_MARKS", 10)
    marks = PurgeMarks(MemoryStore())
    for number in range(11):
        await marks.add(f"tag:{number}\n")
    assert marks.covers(["tag:unknown\n"], 0)
    assert not marks.covers(["tag:unknown\n"], 4e9)
    assert marks._purges._count < 11


async def test_many_marks_with_positions_purge_everything_that_was_begun_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purge_marks, "MAX_MARKS", 10)
    marks = PurgeMarks(MemoryStore())
    for number in range(11):
        await marks.add(f"tag:{number}\n", (number, 0))
    assert [marks.covers(["tag:unknown\n"], 0, (number, 0)) for number in (4, 5)] == [True, False]
    assert marks.covers(["tag:10\n"], 0, (9, 0))
    assert not marks.covers(["tag:10\n"], 0, (10, 0))


async def test_a_purge_removes_what_waits_to_be_written(make: Make) -> None:
    store = MemoryStore()
    cache = make(store)
    await cache.put(A, rendition("a.jpg"))
    await cache.put(B, rendition("b.jpg"))
    await cache.purge("source:files:a.jpg\n")
    await cache.flush(10)
    assert await make(store).get(A) is None
    assert await make(store).get(B) is not None
    assert cache.stats().bytes == 0


# ------------------------------------------------------------------------------------------ a store that fails


def options(server: Origin) -> dict[str, str]:
    key = {"access_key_id": "a", "secret_access_key": "b", "region": "us-east-1"}
    return {"endpoint": server.url(""), "allow_http": "true", **key}


@pytest.fixture
async def hanging() -> AsyncIterator[tuple[Any, Origin, asyncio.Event]]:
    """A store that does not respond until the event is set, its server, and the event."""
    go = asyncio.Event()

    async def wait(_: ReceivedRequest, send: Send) -> None:
        await go.wait()
        await send(reply(b"<ListBucketResult></ListBucketResult>"))

    async with origin() as server:
        # A listing is the first request of a lookup; its path has no key.
        server.responses["/cache"] = wait
        yield open_store("s3://cache", "x", TIMES, options=options(server)), server, go


async def test_a_store_that_hangs_delays_few_lookups(make: Make, hanging: tuple[Any, Origin, asyncio.Event]) -> None:
    store, _, go = hanging
    cache = make(store, read_s=0.05)
    with structlog.testing.capture_logs() as logs:
        began_s = asyncio.get_running_loop().time()
        for _ in range(200):
            assert await cache.get(A) is None
        assert asyncio.get_running_loop().time() - began_s < 0.05 * FAILURES_IN_A_ROW + 0.5
        assert cache.stats().errors == FAILURES_IN_A_ROW
        assert not cache.stats().available
        await cache.put(A, rendition())
        assert cache.stats().skipped == 1  # not even queued
        go.set()
        await until(lambda: cache._breaker._clock() >= cache._breaker._until_s)
        assert await cache.get(A) is None
        assert cache.stats().available
    assert [entry["event"] for entry in logs] == [
        "shared cache: the store does not respond; continuing without it",
        "shared cache: the store responds again",
    ]


async def test_a_full_queue_drops_and_counts(make: Make, hanging: tuple[Any, Origin, asyncio.Event]) -> None:
    store, server, go = hanging

    async def wait(_: ReceivedRequest, send: Send) -> None:
        await go.wait()
        await send(reply(b"", ETag='"1"'))

    names = [str(number) for number in range(20)]
    for name in names:
        server.responses[f"/cache/r{RENDER_VERSION}/{key_of(name)[:2]}/{key_of(name)}"] = wait
    cache = make(store, queue_bytes=8_000)
    for name in names:
        await cache.put(key_of(name), rendition(body=bytes(1_000)))
        await asyncio.sleep(0)
    # Four are being written, eight wait.
    await until(lambda: len(server.requests) == 4)
    assert cache.stats().bytes <= 8_000
    assert cache.stats().skipped == 20 - 12
    go.set()
    await cache.flush(10)
    assert len(server.requests) == 12
    assert cache.stats().errors == 0


async def test_a_purge_that_cannot_be_written_is_an_error(make: Make) -> None:
    async with origin() as refusing:
        refusing.responses["/cache"] = reply(b"<Error><Code>AccessDenied</Code></Error>", 403)
        cache = make(open_store("s3://cache", "x", TIMES, options=options(refusing)))
        with pytest.raises(InternalError, match="could not be purged"):
            await cache.purge("tag:x\n")
        assert cache._marks.covers(["tag:x\n"], 0)  # here it counts


# ------------------------------------------------------------------------------------------ the circuit breaker


def test_the_circuit_breaker() -> None:
    clock = Clock()
    breaker = CircuitBreaker("cache", clock)
    for _ in range(FAILURES_IN_A_ROW - 1):
        breaker.failed("x")
        assert breaker.allows()
    breaker.succeeded()
    for _ in range(FAILURES_IN_A_ROW):
        assert breaker.allows()
        breaker.failed("x")
    pause_s = FIRST_PAUSE_S
    while pause_s < LONGEST_PAUSE_S:
        assert not breaker.allows()
        clock.now += pause_s
        assert breaker.allows()
        assert not breaker.allows()  # one at a time
        breaker.failed("x")
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
    clock.now += LONGEST_PAUSE_S
    assert breaker.allows()
    breaker.succeeded()


def test_calls_that_fail_at_the_same_time_open_the_circuit_breaker_for_one_pause() -> None:
    clock = Clock()
    breaker = CircuitBreaker("cache", clock)
    for pause_s in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S):  # the second one is of the call that tried the service again
        for _ in range(20):
            breaker.failed("x")
        clock.now += pause_s - 0.01
        assert not breaker.allows()
        clock.now += 0.01
        assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.allows()
