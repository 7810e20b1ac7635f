"""Entries of the disk cache that a soft purge has purged. They are found by the keys of their orders."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cropmark.caches import entry_store
from cropmark.caches.disk import DiskCache
from cropmark.caches.entry_store import Usage
from cropmark.ports import STALE_S, Rendition, StoredRendition
from tests.adapters.renditions import key_of, rendition
from tests.caches.test_pending_purges import all_removed, entries_in, no_removal

A, ORDER = key_of("a"), key_of("the order of a")
SOURCE = "source:files:blue.jpg\n"


def of_order(body: bytes = b"old") -> Rendition:
    found = rendition(body=body, tags=("tag:shoes\n",))
    return replace(found, record=replace(found.record, order_key=ORDER))


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[DiskCache]:
    opened = await DiskCache.open(tmp_path, read_bytes=4096)
    await opened.put(A, of_order())
    yield opened
    await opened.close()


async def stale(cache: DiskCache) -> Rendition | StoredRendition | None:
    return await cache.find_stale(ORDER, streams=False)


async def test_an_entry_is_found_by_its_order_only_also_after_a_restart(tmp_path: Path, cache: DiskCache) -> None:
    assert await stale(cache) is None
    assert await cache.purge(SOURCE, soft=True) == 1
    assert (cache.peek(A), await cache.get(A), await cache.find(A)) == (None, None, None)
    assert await stale(cache) == of_order()
    await cache.put(A, of_order(b"new"))
    assert (await cache.get(A), await stale(cache)) == (of_order(b"new"), of_order())
    assert cache.stats().entries == entries_in(tmp_path) == 2
    again = await DiskCache.open(tmp_path)
    assert (await again.get(A), await stale(again)) == (of_order(b"new"), of_order())
    await again.close()


async def test_a_second_soft_purge_keeps_it_and_a_new_rendition_replaces_it(tmp_path: Path, cache: DiskCache) -> None:
    for _ in range(2):
        await cache.purge(SOURCE, soft=True)
        assert await stale(cache) == of_order()
    await cache.put(A, of_order(b"new"))
    await cache.purge(SOURCE, soft=True)
    assert await stale(cache) == of_order(b"new")
    assert cache.stats().entries == entries_in(tmp_path) == 1


@pytest.mark.parametrize("newer", ["b", "c", "d", "e"])
async def test_of_several_versions_the_last_used_one_is_found(tmp_path: Path, cache: DiskCache, newer: str) -> None:
    """The order of their keys, in which a purge visits them, has no effect."""
    for age_s, name in enumerate(sorted("bcde", key=newer.__eq__, reverse=True)):
        await cache.put(key_of(name), of_order(name.encode()))
        os.utime(tmp_path / "renditions" / key_of(name)[:2] / key_of(name), (0, time.time() - 10 * age_s))
    os.utime(tmp_path / "renditions" / A[:2] / A, (0, time.time() - 100))
    assert await cache.purge(SOURCE, soft=True) == 5
    assert await stale(cache) == of_order(newer.encode())
    assert cache.stats().entries == entries_in(tmp_path) == 1


@pytest.mark.parametrize("prefix", [SOURCE, "tag:shoes\n", ""])
async def test_a_purge_ends_it(tmp_path: Path, cache: DiskCache, prefix: str) -> None:
    await cache.purge("tag:shoes\n", soft=True)
    await cache.purge(prefix)
    assert await stale(cache) is None
    await all_removed(cache)
    assert cache.stats().entries == entries_in(tmp_path) == 0


@pytest.mark.parametrize("soft_first", [True, False])
async def test_a_purge_and_a_soft_purge_at_the_same_time(
    tmp_path: Path, cache: DiskCache, soft_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_removal(cache, monkeypatch):
        for soft in (soft_first, not soft_first):
            await cache.purge(SOURCE, soft=soft)
        assert await stale(cache) is None
    await all_removed(cache)
    assert await stale(cache) is None
    assert entries_in(tmp_path) == 0


async def test_it_ends_when_a_new_rendition_is_ready_or_after_a_time(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cache.purge(SOURCE, soft=True)
    await cache.drop_stale(ORDER)
    assert await stale(cache) is None
    await cache.put(A, of_order())
    await cache.purge(SOURCE, soft=True)
    later = SimpleNamespace(time=lambda: time.time() + STALE_S + 1, monotonic=time.monotonic)
    monkeypatch.setattr(entry_store, "time", later)
    assert await stale(cache) is None
    await cache.forget("")  # the writer thread has ended everything before
    assert entries_in(tmp_path) == 0


@pytest.mark.parametrize("ready", ["before its removal", "during its removal"])
async def test_an_old_image_does_not_follow_the_new_one(
    tmp_path: Path, cache: DiskCache, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one, of another version of its source, is ready before a long purge has reached the old one."""
    make_stale = cache._entries.make_stale
    seen: list[object] = []

    def make_stale_slowly(*arguments: object) -> Usage:
        asyncio.run_coroutine_threadsafe(cache.drop_stale(ORDER), loop).result(10)
        removed = make_stale(*arguments)  # type: ignore[arg-type]  # as they were given
        seen.append(asyncio.run_coroutine_threadsafe(stale(cache), loop).result(10))
        return removed

    loop = asyncio.get_running_loop()
    if ready == "during its removal":
        monkeypatch.setattr(cache._entries, "make_stale", make_stale_slowly)
    with no_removal(cache, monkeypatch):
        assert await cache.purge(SOURCE, soft=True) == 1
        cache.store(key_of("b"), of_order(b"new"))
        if ready == "before its removal":
            await cache.drop_stale(ORDER)
    await all_removed(cache)
    assert seen == ([None] if ready == "during its removal" else [])
    assert await stale(cache) is None
    await cache.written(key_of("b"))
    assert await cache.get(key_of("b")) == of_order(b"new")
    assert cache.stats().entries == entries_in(tmp_path) == 1


async def test_a_later_soft_purge_keeps_the_new_image(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_removal(cache, monkeypatch):
        await cache.purge(SOURCE, soft=True)
        cache.store(key_of("b"), of_order(b"new"))
        await cache.drop_stale(ORDER)
        await cache.purge(SOURCE, soft=True)
    await all_removed(cache)
    assert await stale(cache) == of_order(b"new")
    assert entries_in(tmp_path) == 1


async def test_it_is_evicted_as_if_it_had_not_been_purged(tmp_path: Path, cache: DiskCache) -> None:
    """A purge of a large site must not evict other images."""
    (file,) = tmp_path.glob("renditions/*/*")
    os.utime(file, (1_000, 1_000))
    await cache.purge(SOURCE, soft=True)
    (file,) = tmp_path.glob("renditions/*/*")
    assert file.stat().st_mtime == 1_000
    assert await stale(cache) is not None


async def test_a_large_one_is_sent_from_its_file(cache: DiskCache) -> None:
    large = of_order(b"x" * 5000)
    await cache.put(A, large)
    await cache.purge(SOURCE, soft=True)
    found = await cache.find_stale(ORDER, streams=True)
    assert isinstance(found, StoredRendition)
    assert os.pread(found.descriptor, 9999, found.offset) == large.body
    found.close()
    assert await stale(cache) == large


async def test_a_restart_continues_a_soft_purge(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_removal(cache, monkeypatch):
        assert await cache.purge(SOURCE, soft=True) == 1
        shutil.copytree(tmp_path, tmp_path / "killed")  # the state at the moment of a kill
    again = await DiskCache.open(tmp_path / "killed")
    assert await again.get(A) is None
    await all_removed(again)
    assert await stale(again) == of_order()
    await again.close()


async def test_entries_that_no_order_finds_are_removed(tmp_path: Path, cache: DiskCache) -> None:
    await cache.put(A, rendition())
    await cache.purge(SOURCE, soft=True)
    assert entries_in(tmp_path) == 0


async def test_a_damaged_one_is_not_sent(tmp_path: Path, cache: DiskCache) -> None:
    await cache.purge(SOURCE, soft=True)
    (file,) = tmp_path.glob("renditions/*/*")
    file.write_bytes(file.read_bytes()[:-1])
    assert await stale(cache) is None
