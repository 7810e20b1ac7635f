"""The disk cache on full, read-only and failing disks, with killed processes, and shared by two processes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cropmark.caches import disk, evictor
from cropmark.caches.disk import DiskCache
from cropmark.model.problems import InternalError
from cropmark.runtime import atomic_file
from cropmark.runtime.file_io import FileCalls
from tests.adapters.renditions import key_of, rendition
from tests.caches.writer import numbered
from tests.runtime.stub_libc import StubLibc

KIB, MIB = 1024, 1024 * 1024
ROOT = Path(__file__).parents[2]
A = key_of("a")


class Clock:
    """Replaces the module `time` in the disk cache and its evictor."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (disk, evictor):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: self.now_s))


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system in memory at `folder` until the end; the test is skipped if mounting is not permitted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("size=1m", *options)), "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the mount command")
    if done.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# ------------------------------------------------------------------------------------------ storage


async def test_a_full_disk_does_not_fail_requests_check_40(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    clock.install(monkeypatch)
    with mounted(tmp_path / "small") as folder:
        cache = await DiskCache.open(folder)  # 2 GiB on a disk of 1 MiB
        for n in range(100):
            await cache.put(key_of(str(n)), rendition(str(n), body=bytes(40 * KIB)))
            clock.now_s += 6  # after the backoff
        found = [n for n in range(100) if await cache.get(key_of(str(n))) is not None]
        stats = cache.stats()
        assert 1 <= stats.errors < 50
        assert stats.damaged == 0
        assert len(found) >= 10
        assert max(found) >= 90  # old entries were evicted
        assert list((folder / "unfinished").iterdir()) == []
        await cache.close()


async def test_the_server_starts_with_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "nr_inodes=3") as folder:
        for name in ("one", "two"):
            (folder / name).write_bytes(b"")
        cache = await DiskCache.open(folder)
        await cache.put(A, rendition())
        assert await cache.get(A) is None
        assert cache.stats().errors == 1
        await cache.close()


async def test_a_read_only_disk_fails_at_the_start(tmp_path: Path) -> None:
    with mounted(tmp_path / "fixed", "ro") as folder:
        with pytest.raises(OSError, match="Read-only") as caught:
            await DiskCache.open(folder)
        assert caught.value.errno == errno.EROFS


async def test_a_disk_that_becomes_read_only_serves_hits_and_fails_purges(tmp_path: Path) -> None:
    with mounted(tmp_path / "small") as folder:
        cache = await DiskCache.open(folder)
        await cache.put(A, rendition())
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert await cache.get(A) == rendition()
        with pytest.raises(InternalError, match="could not be purged completely"):
            await cache.purge("source:")
        await cache.close()


FAILURES = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE]


@pytest.mark.parametrize("failure", FAILURES)
async def test_errors_are_counted_logged_once_a_minute_and_followed_by_a_backoff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: int
) -> None:
    clock = Clock()
    clock.install(monkeypatch)
    cache = await DiskCache.open(tmp_path)
    await cache.put(A, rendition())
    tries = 0

    def fails(*_: object) -> tuple[int, Path]:
        nonlocal tries
        tries += 1
        raise OSError(failure, os.strerror(failure))

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(atomic_file, "new_part_file", fails)
        for second in range(30):
            clock.now_s = 2_000.0 + second
            await cache.put(key_of("b"), rendition())
    assert tries == 6  # one per backoff of five seconds
    assert cache.stats().errors == 6
    assert cache.stats().skipped == 30
    assert [record.getMessage().count(os.strerror(failure)) for record in caplog.records] == [1]
    clock.now_s += 60
    await cache.put(key_of("b"), rendition())
    assert await cache.get(key_of("b")) == rendition()
    await cache.close()


async def test_a_failing_read_is_a_miss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, libc = Clock(), StubLibc()
    clock.install(monkeypatch)
    cache = await DiskCache.open(tmp_path, file_calls=FileCalls(libc))
    await cache.put(A, rendition())

    def fails(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(os, "pread", fails)
        libc.preadv2_result = (-1, errno.EIO)
        for _ in range(5):
            assert cache.peek(A) is None
            assert await cache.get(A) is None
    libc.preadv2_result = None
    assert cache.stats().errors == 1  # then came the backoff
    assert len(caplog.records) == 1
    clock.now_s += 60
    await cache.purge("nothing")  # runs after the removal
    assert await cache.get(A) is None  # the unreadable file was removed
    assert cache.stats().errors == 1
    await cache.put(A, rendition())
    assert await cache.get(A) == rendition()
    await cache.close()


async def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = await DiskCache.open(tmp_path)

    class HalfWriter:
        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> HalfWriter:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        def writelines(self, pieces: Iterable[bytes]) -> None:
            piece = next(iter(pieces))
            os.write(self.descriptor, piece[: len(piece) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdopen", lambda descriptor, mode: HalfWriter(descriptor))
        await cache.put(A, rendition())
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "tags"] == []
    await cache.close()


# ------------------------------------------------------------------------------------------ processes


def writer(folder: Path, limit_bytes: int, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.caches.writer", str(folder), str(limit_bytes), str(first), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def test_after_kill_9_every_written_entry_is_served(tmp_path: Path) -> None:
    chance = random.Random(7)
    written: set[int] = set()
    for first in range(0, 6_000, 1_000):
        process = writer(tmp_path, 1024 * MIB, first, 1_000)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 80)):
            written.add(int(process.stdout.readline()))
        process.kill()
        written.update(int(line) for line in process.stdout.read().split())
        process.wait()
        cache = await DiskCache.open(tmp_path)
        for number in range(first, first + 1_000):
            found = await cache.get(key_of(str(number)))
            assert found in ((numbered(number),) if number in written else (numbered(number), None))
        assert cache.stats().damaged == 0
        await cache.close()
    assert len(written) >= 6


async def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    limit = 4 * MIB
    cache = await DiskCache.open(tmp_path, limit)
    process = writer(tmp_path, limit, 0, 400)
    assert process.stdout is not None
    process.stdout.readline()
    for number in range(200, 600):
        await cache.put(key_of(str(number)), numbered(number))
        found = await cache.get(key_of(str(number - 200)))
        assert found in (numbered(number - 200), None)
        if number % 100 == 0:
            await cache.purge("source:files:2")
    assert process.stdout.read().endswith("done\n")
    assert process.wait() == 0
    assert cache.stats().damaged == cache.stats().errors == 0
    stored_bytes = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert stored_bytes <= limit * 11 // 10
    with writer(tmp_path, limit, 9_000, 1) as another:
        another.wait()
    assert await cache.get(key_of("9000")) == numbered(9_000)
    entries = len(list(tmp_path.glob("renditions/*/*")))
    assert await cache.purge("source:") == entries > 0
    assert list(tmp_path.glob("renditions/*/*")) == []
    await cache.close()
