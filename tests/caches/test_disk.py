"""The disk cache: its files, limits and statistics, and how it is opened."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.caches.disk import DiskCache
from cropmark.caches.entry_format import HEAD_BYTES
from cropmark.caches.entry_store import INLINE_READ_BYTES, EntryStore
from cropmark.caches.pending_purges import PendingPurge, PendingPurges
from cropmark.caches.tag_index import SHARDS
from cropmark.ports import Rendition, StoredRendition
from cropmark.runtime.file_io import FileCalls
from tests.adapters.renditions import key_of, rendition
from tests.runtime.stub_libc import StubLibc

KIB, MIB = 1024, 1024 * 1024
A = key_of("a")


@pytest.fixture
def libc() -> StubLibc:
    return StubLibc()


@pytest.fixture
async def cache(tmp_path: Path, libc: StubLibc) -> AsyncIterator[DiskCache]:
    opened = await DiskCache.open(tmp_path / "cache", 4 * MIB, file_calls=FileCalls(libc))
    yield opened
    await opened.close()


def files_in(folder: Path) -> list[Path]:
    """The files of entries."""
    return sorted(path for path in folder.rglob("renditions/*/*") if path.is_file())


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in files_in(folder))


# ------------------------------------------------------------------------------------------ files


async def test_each_entry_is_one_private_file(tmp_path: Path, cache: DiskCache) -> None:
    await cache.put(A, rendition())
    (file,) = files_in(tmp_path)
    assert file == tmp_path / "cache" / "renditions" / A[:2] / A
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    folders = [tmp_path / "cache", *(path for path in (tmp_path / "cache").rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


async def test_a_folder_that_others_can_enter_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "renditions").mkdir(mode=0o755)
    await (await DiskCache.open(tmp_path)).close()
    assert stat.S_IMODE((tmp_path / "renditions").stat().st_mode) == 0o700


CORRUPTIONS: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[:-1],
    "empty": lambda data: b"",
    "a bit of the body": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "a bit of the record": lambda data: data[: HEAD_BYTES + 9] + b"\x7f" + data[HEAD_BYTES + 10 :],
    "longer": lambda data: data + b"\0",
    "all zero, as after a power failure": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
async def test_a_corrupt_file_is_a_miss_and_is_removed_check_40(
    tmp_path: Path, cache: DiskCache, corruption: str
) -> None:
    await cache.put(A, rendition(body=bytes(range(256))))
    (file,) = files_in(tmp_path)
    file.write_bytes(CORRUPTIONS[corruption](file.read_bytes()))
    assert cache.peek(A) is None
    assert await cache.get(A) is None
    await cache.purge("nothing")  # comes after the removal
    assert not file.exists()
    assert (cache.stats().damaged, cache.stats().misses, cache.stats().errors) == (1, 1, 0)
    await cache.put(A, rendition())
    assert await cache.get(A) == rendition()


async def test_the_file_of_another_key_is_not_served(tmp_path: Path, cache: DiskCache) -> None:
    await cache.put(A, rendition())
    (file,) = files_in(tmp_path)
    other = key_of("b")
    moved = file.parents[1] / other[:2] / other
    moved.parent.mkdir(exist_ok=True)
    file.rename(moved)
    assert await cache.get(other) is None


async def test_a_link_is_not_followed(tmp_path: Path, cache: DiskCache) -> None:
    await cache.put(A, rendition())
    (file,) = files_in(tmp_path)
    aside = file.rename(tmp_path / "aside")
    file.symlink_to(aside)
    assert await cache.get(A) is None
    assert aside.exists()


async def test_a_folder_that_was_removed_is_created_again(tmp_path: Path, cache: DiskCache) -> None:
    await cache.put(A, rendition())
    for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "cache").rmdir()
    assert await cache.get(A) is None
    await cache.put(A, rendition())
    assert await cache.get(A) == rendition()


# ------------------------------------------------------------------------------------------ peek


async def test_peek_reads_from_the_page_cache(cache: DiskCache) -> None:
    await cache.put(A, rendition(body=bytes(40 * KIB)))
    if cache.peek(A) is None:
        pytest.skip("this file system has no RWF_NOWAIT")
    assert cache.peek(A) == rendition(body=bytes(40 * KIB))
    assert cache.stats().hits == 2


async def test_a_large_file_is_read_in_a_thread(cache: DiskCache) -> None:
    await cache.put(A, rendition(body=bytes(INLINE_READ_BYTES)))
    assert cache.peek(A) is None
    assert await cache.get(A) == rendition(body=bytes(INLINE_READ_BYTES))


@pytest.mark.parametrize("in_page_cache", [None, 0, 100])
async def test_a_file_that_is_not_in_the_page_cache_is_read_in_a_thread(
    cache: DiskCache, libc: StubLibc, in_page_cache: int | None
) -> None:
    await cache.put(A, rendition())
    libc.preadv2_result = (-1 if in_page_cache is None else in_page_cache, errno.EAGAIN)
    assert cache.peek(A) is None
    assert await cache.get(A) == rendition()
    assert cache.stats().damaged == 0


@pytest.mark.parametrize("error_number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
async def test_a_system_without_rwf_nowait_is_not_an_error(cache: DiskCache, libc: StubLibc, error_number: int) -> None:
    await cache.put(A, rendition())
    libc.preadv2_result = (-1, error_number)
    assert cache.peek(A) is None
    assert await cache.get(A) == rendition()
    assert cache.stats().errors == 0


# ------------------------------------------------------------------------------------------ bounds


async def test_the_limit_holds_and_the_statistics_are_right_check_40(tmp_path: Path, cache: DiskCache) -> None:
    for n in range(300):
        await cache.put(key_of(str(n)), rendition(body=bytes(30 * KIB)))
        assert cache.stats().bytes <= 4 * MIB
    stats = cache.stats()
    assert bytes_in(tmp_path) <= stats.bytes <= 4 * MIB
    assert stats.entries == len(files_in(tmp_path))
    assert stats.evictions == 300 - stats.entries
    assert await cache.get(key_of("299")) is not None
    assert await cache.get(key_of("0")) is None


async def test_the_number_of_entries_is_limited(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path, max_entries=20)
    for n in range(50):
        await cache.put(key_of(str(n)), rendition())
        assert len(files_in(tmp_path)) == cache.stats().entries <= 20
    await cache.close()


async def test_entries_without_a_body_count_as_one_block(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path, 256 * KIB)
    for n in range(100):
        await cache.put(key_of(str(n)), rendition(body=b""))
    assert len(files_in(tmp_path)) <= 64  # a block of 4 KiB each
    await cache.close()


STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40 * KIB)), max_size=30)


@given(STEPS)
@settings(max_examples=25, deadline=None)
async def test_the_limit_holds_and_the_count_is_right_after_any_puts(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("law")
    cache = await DiskCache.open(folder, 128 * KIB)
    for name, size in puts:
        await cache.put(key_of(str(name)), rendition(body=bytes(size)))
        assert bytes_in(folder) <= 128 * KIB
    again = await DiskCache.open(folder, 128 * KIB)
    await again.close()
    assert (again.stats().entries, again.stats().bytes) == (len(files_in(folder)), cache.stats().bytes)
    await cache.close()


async def test_used_entries_are_evicted_last_across_restarts(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path, MIB)
    for n in range(8):
        await cache.put(key_of(str(n)), rendition(body=bytes(100 * KIB)))
        file = tmp_path / "renditions" / key_of(str(n))[:2] / key_of(str(n))
        os.utime(file, (0, time.time() - 4_000 + n))  # as if put an hour ago, in this order
    assert await cache.get(key_of("0")) is not None
    await cache.close()
    cache = await DiskCache.open(tmp_path, MIB)
    for n in range(8, 12):
        await cache.put(key_of(str(n)), rendition(body=bytes(100 * KIB)))
    found = [n for n in range(12) if await cache.get(key_of(str(n))) is not None]
    assert 0 in found
    assert 1 not in found
    await cache.close()


async def test_puts_are_skipped_while_too_many_bytes_are_pending(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path, 64 * MIB)
    body = bytes(7 * MIB)
    await asyncio.gather(*(cache.put(key_of(str(n)), rendition(body=body)) for n in range(12)))
    assert cache.stats().skipped >= 12 - (32 + 8) // 7
    assert cache.stats().entries + cache.stats().skipped == 12
    await cache.close()


# ------------------------------------------------------------------------------------------ opening


async def test_entries_survive_a_restart(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path)
    for n in range(20):
        await cache.put(key_of(str(n)), rendition(str(n)))
    await cache.close()
    again = await DiskCache.open(tmp_path)
    assert [await again.get(key_of(str(n))) for n in range(20)] == [rendition(str(n)) for n in range(20)]
    assert await again.purge("source:files:7\n") == 1
    assert await again.get(key_of("7")) is None
    await again.close()
    assert again.stats().entries == 19


async def test_a_purge_right_after_opening_covers_all_entries(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path)
    for n in range(200):
        await cache.put(key_of(str(n)), rendition(str(n)))
    await cache.close()
    again = await DiskCache.open(tmp_path)
    assert await again.purge("source:") == 200
    assert files_in(tmp_path) == []
    await again.close()


async def test_queued_purges_share_their_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    tagged = EntryStore.tagged

    def counted(
        entries: EntryStore, shard: str, purges: Sequence[PendingPurge], pending: PendingPurges
    ) -> list[set[bytes]]:
        nonlocal reads
        reads += 1
        return tagged(entries, shard, purges, pending)

    monkeypatch.setattr(EntryStore, "tagged", counted)
    cache = await DiskCache.open(tmp_path)
    for n in range(60):
        await cache.put(key_of(str(n)), rendition(f"{n % 30}.jpg"))
    last = asyncio.create_task(cache.put(key_of("last"), rendition("29.jpg")))
    await asyncio.sleep(0)
    counts = await asyncio.gather(*(cache.purge(f"source:files:{n}.jpg\n") for n in range(40)))
    await last
    assert counts == [2] * 29 + [3] + [0] * 10
    assert files_in(tmp_path) == []
    await cache.close()  # waits for every job
    assert reads < 10 * len(SHARDS)
    assert cache.stats().entries == 0


TAGS = st.text(max_size=12) | st.sampled_from(
    ['quo"te', "back\\slash", "ü ほし", "a/b\n", "\x00\x1f\x7f", "</script>", "tab\t", "\t", ",", "]", "."]
)


@given(st.lists(TAGS, max_size=4), TAGS, st.integers(0, 12))
@settings(max_examples=60, deadline=None)
async def test_a_purge_removes_exactly_the_entries_with_such_a_tag(
    tmp_path_factory: pytest.TempPathFactory, tags: list[str], other: str, length: int
) -> None:
    prefix = (tags[0] if tags else other)[:length]
    cache = await DiskCache.open(tmp_path_factory.mktemp("law"))
    other_entry = rendition("x.jpg", tags=(other,))
    await cache.put(A, rendition("x.jpg", tags=(*tags, prefix)))
    await cache.put(key_of("b"), other_entry)
    is_hit = any(tag.startswith(prefix) for tag in other_entry.record.tags)
    assert await cache.purge(prefix) == 1 + is_hit
    assert await cache.get(A) is None
    assert await cache.get(key_of("b")) == (None if is_hit else other_entry)
    await cache.close()


async def test_unfinished_files_are_removed_after_an_hour(tmp_path: Path) -> None:
    (tmp_path / "unfinished").mkdir(parents=True)
    old, new = tmp_path / "unfinished" / "old", tmp_path / "unfinished" / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - 3_700))
    cache = await DiskCache.open(tmp_path)
    await cache.close()
    assert not old.exists()
    assert new.exists()  # another process may be writing it


async def test_a_closed_cache_stores_and_finds_nothing(tmp_path: Path) -> None:
    cache = await DiskCache.open(tmp_path)
    await cache.put(A, rendition())
    await cache.close()
    await cache.put(key_of("b"), rendition())
    assert cache.peek(A) is None
    assert await cache.get(A) is None
    assert len(files_in(tmp_path)) == 1


async def test_a_path_that_is_not_a_folder_raises_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        await DiskCache.open(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        await DiskCache.open(tmp_path / "file" / "below")
    (tmp_path / "renditions").symlink_to("/")
    with pytest.raises(NotADirectoryError, match="renditions"):
        await DiskCache.open(tmp_path)


async def test_a_folder_that_cannot_be_written_raises_os_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root can write everywhere; test_trouble.py mounts a read-only file system instead")
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        await DiskCache.open(tmp_path)


async def test_a_folder_of_another_user_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "renditions").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match="another user"):
        await DiskCache.open(tmp_path)


# ------------------------------------------------------------------------------------------ second read


async def test_a_file_changed_since_its_check_is_not_served(tmp_path: Path, cache: DiskCache) -> None:
    await cache.put(A, rendition(body=b"one image"))
    assert [cache.peek(A), cache.peek(A)] == [rendition(body=b"one image")] * 2
    (file,) = files_in(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"!")
    os.utime(file, ns=(0, time.time_ns() + 10**9))  # two writes in one tick of the clock have the same mtime
    assert cache.peek(A) is None
    assert await cache.get(A) is None
    assert cache.stats().damaged == 1


async def test_a_new_rendition_under_the_key_is_read(cache: DiskCache) -> None:
    await cache.put(A, rendition(body=b"one image"))
    assert cache.peek(A) == cache.peek(A) == rendition(body=b"one image")
    await cache.put(A, rendition(body=b"a new one"))
    assert cache.peek(A) == cache.peek(A) == rendition(body=b"a new one")


async def test_the_checksum_is_checked_again_after_a_minute(
    tmp_path: Path, cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk error changes the bytes of a file and not its state."""
    await cache.put(A, rendition(body=b"one image"))
    assert cache.peek(A) is not None
    (file,) = files_in(tmp_path)
    status, data = file.stat(), file.read_bytes()
    file.write_bytes(data[:-1] + b"!")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert cache.peek(A) is None


async def test_a_purged_entry_is_not_served_from_the_verified_files(cache: DiskCache) -> None:
    await cache.put(A, rendition(tags=("source:a",)))
    assert cache.peek(A) is not None
    await cache.purge("source:a")
    assert cache.peek(A) is None


# ------------------------------------------------------------------------------------------ large entries

LARGE = rendition(body=bytes(range(256)) * (2 * MIB // 256))


def body_of(found: Rendition | StoredRendition | None) -> bytes:
    assert isinstance(found, StoredRendition)
    body = os.pread(found.descriptor, found.record.length, found.offset)
    found.close()
    found.close()
    return body


@pytest.fixture
async def streaming(tmp_path: Path) -> AsyncIterator[DiskCache]:
    opened = await DiskCache.open(tmp_path / "cache", 64 * MIB, read_bytes=MIB)
    yield opened
    await opened.close()


async def test_check_66_a_large_entry_is_opened_and_not_read(streaming: DiskCache) -> None:
    await streaming.put(A, LARGE)
    tracemalloc.start()
    for _ in range(3):
        found = await streaming.find(A)
        assert isinstance(found, StoredRendition)
        assert found.record == LARGE.record
        assert tracemalloc.get_traced_memory()[1] < MIB  # two pieces, for the checksum
        tracemalloc.reset_peak()
        assert body_of(found) == LARGE.body
        tracemalloc.reset_peak()
    tracemalloc.stop()
    assert streaming.peek(A) is None
    assert await streaming.get(A) == LARGE
    assert streaming.stats().hits == 4


async def test_small_and_unwritten_entries_are_read(streaming: DiskCache) -> None:
    small = rendition(body=b"x" * (MIB - KIB))
    await streaming.put(A, small)
    assert await streaming.find(A) == small
    assert await streaming.find(key_of("b")) is None
    streaming.store(key_of("b"), LARGE)
    assert await streaming.find(key_of("b")) is LARGE


@pytest.mark.parametrize("at", [3, 40, HEAD_BYTES + 5, -1, None])
async def test_a_damaged_large_entry_is_removed(tmp_path: Path, streaming: DiskCache, at: int | None) -> None:
    await streaming.put(A, LARGE)
    (file,) = files_in(tmp_path)
    content = bytearray(file.read_bytes())
    if at is None:
        del content[-1]
    else:
        content[at] ^= 1
    file.write_bytes(content)
    assert await streaming.find(A) is None
    await streaming.put(key_of("b"), LARGE)  # runs on the thread that removes the entry before
    assert not file.exists()
    assert streaming.stats().damaged == 1


async def test_a_large_entry_that_changed_is_checked_again(tmp_path: Path, streaming: DiskCache) -> None:
    await streaming.put(A, LARGE)
    assert body_of(await streaming.find(A)) == LARGE.body
    other = rendition(body=LARGE.body[::-1])
    await streaming.put(A, other)
    assert body_of(await streaming.find(A)) == other.body


async def test_an_expired_large_entry_is_closed(tmp_path: Path) -> None:
    now_s = 100.0
    cache = DiskCache(tmp_path, 64 * MIB, now=lambda: now_s, read_bytes=MIB)
    await cache.put(A, replace(LARGE, record=replace(LARGE.record, expires_s=110.0)))
    before = len(os.listdir("/proc/self/fd"))
    now_s = 111.0
    assert await cache.find(A) is None
    assert len(os.listdir("/proc/self/fd")) == before
    await cache.close()


async def test_a_large_entry_is_purged_when_the_purge_is_called(streaming: DiskCache) -> None:
    await streaming.put(A, LARGE)
    purge = asyncio.ensure_future(streaming.purge("source:files:blue.jpg"))
    await asyncio.sleep(0)
    assert await streaming.find(A) is None
    assert await purge == 1
