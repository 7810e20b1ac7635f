"""Writing behind the response: renditions are found immediately, and reach the disk in batches."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cropmark.caches import entry_store
from cropmark.caches.disk import DiskCache
from cropmark.caches.write_behind import DELAY_S
from cropmark.runtime.atomic_file import write_atomically
from tests.adapters.renditions import key_of, rendition


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[DiskCache]:
    opened = await DiskCache.open(tmp_path / "cache")
    yield opened
    await opened.close()


async def test_a_stored_rendition_is_found_before_and_after_it_is_written(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path)
    key, stored = key_of("behind"), rendition("behind")
    cache.store(key, stored)
    assert not list(tmp_path.rglob(key))
    assert cache.peek(key) == stored
    assert await cache.get(key) == stored
    await cache.close()
    assert list(tmp_path.rglob(key))
    reopened = await DiskCache.open(tmp_path)
    assert await reopened.get(key) == stored
    await reopened.close()


async def test_a_purge_covers_what_is_not_written_yet(cache: DiskCache) -> None:
    key, stored = key_of("behind"), rendition("behind", tags=("source:a\n",))
    cache.store(key, stored)
    assert await cache.purge("source:a\n") == 1
    assert await cache.get(key) is None


async def test_a_put_after_a_store_wins(cache: DiskCache) -> None:
    key = key_of("behind")
    cache.store(key, rendition("old.jpg"))
    await cache.put(key, rendition("new.jpg"))
    await asyncio.sleep(2 * DELAY_S)
    assert await cache.get(key) == rendition("new.jpg")


async def test_a_store_after_a_put_wins(cache: DiskCache) -> None:
    key = key_of("behind")
    await cache.put(key, rendition("old.jpg"))
    cache.store(key, rendition("new.jpg"))
    assert cache.peek(key) == await cache.get(key) == rendition("new.jpg")


async def test_a_failed_batch_is_counted_and_switches_the_tier_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = await DiskCache.open(tmp_path)

    def fails(*_: Any, **__: Any) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(entry_store, "write_atomically", fails)
    for name in "abc":
        cache.store(key_of(name), rendition())
    await asyncio.sleep(4 * DELAY_S)
    assert (cache.stats().skipped, cache.stats().errors) == (3, 1)
    assert cache.peek(key_of("a")) is None
    await cache.close()


async def test_stores_are_skipped_while_too_many_bytes_are_pending(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path, limit_bytes=8 * 2**20)
    for number in range(40):
        cache.store(key_of(str(number)), rendition("x", body=bytes(2**20)))
    skipped = cache.stats().skipped
    assert skipped == 40 - 33  # 32 MiB, and an eighth of the limit
    await cache.close()


async def test_the_first_entry_of_a_subfolder_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def counted(path: Path, *arguments: Any, **options: Any) -> int:
        written.append(path.name)
        return write_atomically(path, *arguments, **options)

    monkeypatch.setattr(entry_store, "write_atomically", counted)
    cache = await DiskCache.open(tmp_path)
    key = key_of("first")
    await cache.put(key, rendition("first"))
    assert written == [key]
    await cache.close()
