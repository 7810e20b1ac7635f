"""The disk cache when things go wrong: full and read-only disks, failing ones, killed processes, two on one folder."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cropmark.caches import disk, evictor
from cropmark.caches.disk import DiskCache
from cropmark.model.problems import InternalError
from tests.adapters.renditions import key_of, rendition
from tests.caches.refusing import answered
from tests.caches.writer import numbered

KIB, MIB = 1024, 1024 * 1024
ROOT = Path(__file__).parents[2]
A = key_of("a")


class Clock:
    """Stands for the module `time` in the disk cache and its keeper."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (disk, evictor):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: self.now_s))


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A file system in memory at `folder`, gone at the end; the test is skipped where that may not be."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("size=1m", *options)), "none", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


# ------------------------------------------------------------------------------------------ storage


async def test_a_full_disk_costs_caching_and_no_answer_check_40(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    clock.install(monkeypatch)
    with mounted(tmp_path / "small") as folder:
        cache = await DiskCache.open(folder)  # 2 GiB on a disk of 1 MiB
        for n in range(100):
            await cache.put(key_of(str(n)), rendition(str(n), body=bytes(40 * KIB)))
            clock.now_s += 6  # past the pause
        found = [n for n in range(100) if await cache.get(key_of(str(n))) is not None]
        told = cache.stats()
        assert 1 <= told.errors < 50
        assert told.damaged == 0
        assert len(found) >= 10
        assert max(found) >= 90  # it goes on with what there is: old ones made room
        assert list((folder / "unfinished").iterdir()) == []
        await cache.close()


async def test_a_full_disk_is_no_reason_not_to_start(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "nr_inodes=3") as folder:
        for name in ("one", "two"):
            (folder / name).write_bytes(b"")
        cache = await DiskCache.open(folder)
        await cache.put(A, rendition())
        assert await cache.get(A) is None
        assert cache.stats().errors == 1
        await cache.close()


async def test_a_read_only_disk_is_told_when_opened(tmp_path: Path) -> None:
    with mounted(tmp_path / "fixed", "ro") as folder:
        with pytest.raises(OSError, match="Read-only") as told:
            await DiskCache.open(folder)
        assert told.value.errno == errno.EROFS


async def test_a_disk_that_becomes_read_only_still_serves_and_tells_of_a_failed_purge(tmp_path: Path) -> None:
    with mounted(tmp_path / "small") as folder:
        cache = await DiskCache.open(folder)
        await cache.put(A, rendition())
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        assert await cache.get(A) == rendition()
        with pytest.raises(InternalError, match="could not be purged whole"):
            await cache.purge("source:")
        await cache.close()


FAILURES = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE]


@pytest.mark.parametrize("failure", FAILURES)
async def test_trouble_is_counted_logged_once_a_minute_and_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: int
) -> None:
    clock = Clock()
    clock.install(monkeypatch)
    cache = await DiskCache.open(tmp_path)
    await cache.put(A, rendition())
    tries = 0

    def fails(**_: object) -> tuple[int, str]:
        nonlocal tries
        tries += 1
        raise OSError(failure, os.strerror(failure))

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(tempfile, "mkstemp", fails)
        for second in range(30):
            clock.now_s = 2_000.0 + second
            await cache.put(key_of("b"), rendition())
    assert tries == 6  # one in five seconds
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
    clock = Clock()
    clock.install(monkeypatch)
    cache = await DiskCache.open(tmp_path)
    await cache.put(A, rendition())

    def fails(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(os, "pread", fails)
        answered(cache, broken, -1, errno.EIO)
        for _ in range(5):
            assert cache.peek(A) is None
            assert await cache.get(A) is None
    assert cache.stats().errors == 1  # then it was left alone
    assert len(caplog.records) == 1
    clock.now_s += 60
    await cache.purge("nothing")  # comes after the removal
    assert await cache.get(A) is None  # the file that could not be read is gone
    assert cache.stats().errors == 1
    await cache.put(A, rendition())
    assert await cache.get(A) == rendition()
    await cache.close()


async def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = await DiskCache.open(tmp_path)

    class Half:
        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor

        def __enter__(self) -> Half:
            return self

        def __exit__(self, *_: object) -> None:
            os.close(self.descriptor)

        def write(self, part: bytes) -> None:
            os.write(self.descriptor, part[: len(part) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdopen", lambda descriptor, mode: Half(descriptor))
        await cache.put(A, rendition())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    await cache.close()


# ------------------------------------------------------------------------------------------ processes


def writer(folder: Path, limit_bytes: int, first: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.caches.writer", str(folder), str(limit_bytes), str(first), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def test_after_kill_9_every_whole_entry_is_served_and_no_half_one(tmp_path: Path) -> None:
    chance = random.Random(7)
    told: set[int] = set()
    for first in range(0, 6_000, 1_000):
        process = writer(tmp_path, 1024 * MIB, first, 1_000)
        assert process.stdout is not None
        for _ in range(chance.randint(1, 80)):
            told.add(int(process.stdout.readline()))
        process.kill()
        told.update(int(line) for line in process.stdout.read().split())
        process.wait()
        cache = await DiskCache.open(tmp_path)
        for number in range(first, first + 1_000):
            found = await cache.get(key_of(str(number)))
            assert found in ((numbered(number),) if number in told else (numbered(number), None))
        assert cache.stats().damaged == 0
        await cache.close()
    assert len(told) >= 6


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
    held = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert held <= limit * 11 // 10
    with writer(tmp_path, limit, 9_000, 1) as another:
        another.wait()
    assert await cache.get(key_of("9000")) == numbered(9_000)
    held_entries = len(list(tmp_path.glob("renditions/*/*")))
    assert await cache.purge("source:") == held_entries > 0
    assert list(tmp_path.glob("renditions/*/*")) == []
    await cache.close()
