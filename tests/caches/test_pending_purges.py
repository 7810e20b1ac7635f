"""Purges of the disk cache that are answered before their entries are removed."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from cropmark.caches import disk
from cropmark.caches.disk import DiskCache
from cropmark.caches.pending_purges import PendingPurge, PendingPurges
from cropmark.caches.tag_index import TagIndex, indexed_keys, keys_with, needs_rewriting, tag_needle
from cropmark.model.problems import InternalError
from cropmark.ports import Digest, Rendition
from cropmark.runtime.atomic_file import write_atomically
from tests.adapters.renditions import key_of, rendition
from tests.builders import until

KEYS = [key_of(str(n)) for n in range(40)]
A = KEYS[0]
ALL = "source:files:"


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[DiskCache]:
    opened = await filled(tmp_path)
    yield opened
    await opened.close()


async def filled(folder: Path) -> DiskCache:
    cache = await DiskCache.open(folder)
    for n, key in enumerate(KEYS):
        await cache.put(key, rendition(f"{n % 10}.jpg"))
    return cache


@contextmanager
def no_removal(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The writer thread does nothing within this context."""
    monkeypatch.setattr(disk, "REMOVE_WAIT_S", 0.01)
    go = threading.Event()
    cache._writer.submit(go.wait)
    try:
        yield
    finally:
        go.set()


async def all_removed(cache: DiskCache) -> None:
    """Wait until the entries of all purges have been removed."""
    await until(lambda: not cache._purges.all)


async def removed(cache: DiskCache) -> None:
    """Wait until the entries of all purges have been removed, and close the cache."""
    await all_removed(cache)
    await cache.close()


def entries_in(folder: Path) -> int:
    return len(list(folder.glob("renditions/*/*")))


PURGES = {ALL: 40, "source:files:7.jpg\n": 4, "source:files:1": 4, "": 40, "tag:none\n": 0, "\ud800": 0}


@pytest.mark.parametrize(("prefix", "count"), PURGES.items())
async def test_purged_entries_are_counted_and_not_served_before_they_are_removed(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch, prefix: str, count: int
) -> None:
    for key in KEYS:
        assert cache.peek(key) is not None
    with no_removal(cache, monkeypatch):
        assert await cache.purge(prefix) == count
        assert entries_in(tmp_path) == 40
        assert sum(cache.peek(key) is None for key in KEYS) == count
        assert [await cache.get(key) for key in KEYS].count(None) == count
    await removed(cache)
    assert entries_in(tmp_path) == 40 - count == cache.stats().entries
    assert list((tmp_path / "pending-purges").iterdir()) == []


async def test_overlapping_purges_count_an_entry_once(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    with no_removal(cache, monkeypatch):
        assert [await cache.purge(f"source:files:{n}") for n in ("7", "", "3")] == [4, 36, 0]


async def test_an_entry_that_is_stored_after_the_purge_is_kept(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_removal(cache, monkeypatch):
        await cache.purge(ALL)
        cache.store(A, rendition(body=b"new"))
        assert cache.peek(A) == rendition(body=b"new")
    await cache.put(KEYS[1], rendition(body=b"also new"))
    assert await cache.get(KEYS[1]) == rendition(body=b"also new")
    await removed(cache)
    assert entries_in(tmp_path) == 2


async def test_a_later_purge_covers_what_was_stored_after_the_first(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with no_removal(cache, monkeypatch):
        await cache.purge(ALL)
        cache.store(A, rendition(body=b"new"))
        await cache.purge(ALL)
        assert cache.peek(A) is None
        assert await cache.get(A) is None
    await removed(cache)
    assert entries_in(tmp_path) == 0


async def test_a_restart_continues_a_purge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = await filled(tmp_path / "one")
    with no_removal(killed, monkeypatch):
        assert await killed.purge("source:files:7.jpg\n") == 4
        shutil.copytree(tmp_path / "one", tmp_path / "two")  # the state at the moment of a kill
    await killed.close()
    assert entries_in(tmp_path / "two") == 40
    again = await DiskCache.open(tmp_path / "two")
    assert await again.get(KEYS[7]) is None
    assert await again.get(KEYS[8]) is not None
    await removed(again)
    assert entries_in(tmp_path / "two") == 36
    assert list((tmp_path / "two" / "pending-purges").iterdir()) == []


async def test_entries_that_cannot_be_removed_are_reported_and_not_served(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def fails(path: str) -> None:
        if path.endswith(KEYS[7]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path)

    monkeypatch.setattr(disk, "BACKOFF_S", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(os, "unlink", fails)
        with pytest.raises(InternalError, match="could not be purged completely"):
            await cache.purge(ALL)
    assert entries_in(tmp_path) == 1
    assert await cache.get(KEYS[7]) is None
    assert len(list((tmp_path / "pending-purges").iterdir())) == 1
    assert await cache.purge("source:files:none") == 0  # removes the file of the failed purge too
    await removed(cache)
    assert entries_in(tmp_path) == 0
    assert list((tmp_path / "pending-purges").iterdir()) == []


async def test_a_purge_that_cannot_be_written_down_is_reported(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pending-purges").rmdir()
    (tmp_path / "pending-purges").write_text("not a folder")
    with no_removal(cache, monkeypatch), pytest.raises(InternalError, match="could not be purged completely"):
        await cache.purge(ALL)
    await removed(cache)
    assert entries_in(tmp_path) == 0


async def test_a_purge_is_written_down_after_another_process_has_emptied_the_folder(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pending-purges", "unfinished"):
        (tmp_path / name).rmdir()
    with no_removal(cache, monkeypatch):
        await cache.purge(ALL)
        assert len(list((tmp_path / "pending-purges").iterdir())) == 1
    await removed(cache)
    assert list((tmp_path / "pending-purges").iterdir()) == []


def test_purges_are_added_and_completed_while_one_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purges = PendingPurges(tmp_path / "pending-purges", tmp_path / "unfinished")
    purges.load()
    (tmp_path / "unfinished").mkdir()
    slow = purges.add(ALL)
    added: list[PendingPurge] = []

    def add_and_complete() -> None:
        added.append(purges.add(""))
        purges.complete(slow)

    def write_slowly(path: Path, pieces: Iterable[bytes], *, folder: Path) -> None:
        thread = threading.Thread(target=add_and_complete, daemon=True)
        thread.start()
        thread.join(5)
        assert added
        write_atomically(path, pieces, folder=folder)

    monkeypatch.setattr("cropmark.caches.pending_purges.write_atomically", write_slowly)
    purges.keep(slow)
    assert list(purges.all) == added
    assert list((tmp_path / "pending-purges").iterdir()) == []


# ------------------------------------------------------------------------------------------ index


@pytest.mark.parametrize("damage", ["removed", "emptied", "cut"])
async def test_entries_without_a_line_in_the_index_are_found(tmp_path: Path, damage: str) -> None:
    """Entries of a version without an index, and lines that a power failure took."""
    await (await filled(tmp_path)).close()
    for file in (tmp_path / "tags").iterdir():
        data = file.read_bytes()
        file.write_bytes({"removed": b"", "emptied": b"", "cut": data[:-3]}[damage])
        if damage == "removed":
            file.unlink()
    again = await DiskCache.open(tmp_path)
    assert await again.purge(ALL) == 40
    await removed(again)
    assert entries_in(tmp_path) == 0


async def test_the_index_does_not_grow_with_the_writes_of_an_entry(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path)
    for n in range(200):
        await cache.put(A, rendition(body=b"%d" % n))
    await cache.close()
    file = tmp_path / "tags" / A[:2]
    assert needs_rewriting(file.read_bytes(), 1)
    await (await DiskCache.open(tmp_path)).close()
    assert file.read_bytes().count(b"\n") == 1
    assert indexed_keys(file.read_bytes()) == {A.encode()}


def test_a_line_added_while_the_index_is_rewritten_is_kept(tmp_path: Path) -> None:
    """As by two processes: the file is locked until the entry of the line exists."""
    for name in ("tags", "parts"):
        (tmp_path / name).mkdir()
    index, names, created = TagIndex(tmp_path / "tags", tmp_path / "parts"), set[bytes](), threading.Event()
    shard = A[:2]

    def add() -> None:
        with index.adding(A, ["source:a\n"]):
            created.wait(5)
            names.add(A.encode())

    with ThreadPoolExecutor(2) as pool:
        adding = pool.submit(add)
        while not index.read(shard):
            pass
        rewriting = pool.submit(index.rewrite, shard, lambda: names)
        created.set()
        adding.result()
        rewriting.result()
    assert keys_with(tag_needle("source:"), index.read(shard)) == {A.encode()}


def test_a_cut_line_does_not_hide_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "tags").mkdir()
    index = TagIndex(tmp_path / "tags", tmp_path)
    with index.adding(A, ["source:a\n"]):
        pass
    file = tmp_path / "tags" / A[:2]
    file.write_bytes(file.read_bytes()[:-20])
    with index.adding(A, ["source:b\n"]):
        pass
    assert keys_with(tag_needle("source:b"), index.read(A[:2])) == {A.encode()}


async def test_a_purge_that_ends_during_a_read_covers_its_result(cache: DiskCache) -> None:
    def read_slowly(key: Digest) -> Rendition | None:
        found = cache._entries.read(key)
        for purge in cache._purges.all:
            cache._purges.complete(purge)  # as the writer thread does after the removal
        return found

    cache._purges.add(ALL)
    assert cache._unpurged(A, read_slowly) is None
