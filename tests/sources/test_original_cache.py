"""The cache of originals: complete entries only, limits, purges, corruption, kill -9 and a full disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.problems import Overloaded
from cropmark.sources.freshness import Lifetimes
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.original_record import Freshness, encode_record, read_record
from tests.sources.source_suite import NOW, key_of, record_of, store_original


async def body_of(store: OriginalCache, name: str) -> bytes | None:
    found = await store.read(key_of(name))
    if found is None:
        return None
    descriptor, record = found
    try:
        return os.pread(descriptor, record.bytes + 1, 0)
    finally:
        os.close(descriptor)


def files(folder: Path) -> list[str]:
    return sorted(path.suffix or path.name[:5] for path in folder.iterdir())


# ------------------------------------------------------------------------------------------ store and read


async def test_a_stored_original_is_read_back(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path / "originals")
    assert store_original(store, "a", b"abc" * 1000)
    assert await body_of(store, "a") == b"abc" * 1000
    assert store.find(key_of("a")) == record_of("a", b"abc" * 1000)
    assert store.find(key_of("b")) is None
    assert (len(store), store.bytes) == (1, 3000)
    assert (tmp_path / "originals").stat().st_mode & 0o077 == 0  # URLs may contain signatures


async def test_a_newer_body_replaces_the_older_one(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path)
    store_original(store, "a", b"old")
    before = await store.read(key_of("a"))
    store_original(store, "a", b"newer")
    assert await body_of(store, "a") == b"newer"
    assert (len(store), store.bytes) == (1, 5)
    assert files(tmp_path) == [".body", ".json"]
    assert before is not None
    assert os.pread(before[0], 9, 0) == b"old"  # an open descriptor stays valid
    os.close(before[0])


async def test_originals_survive_a_restart(tmp_path: Path) -> None:
    before = OriginalCache(tmp_path)
    for name in "abc":
        store_original(before, name, name.encode() * 100)
    after = OriginalCache(tmp_path)
    assert (len(after), after.bytes) == (3, 300)
    assert [await body_of(after, name) for name in "abc"] == [b"a" * 100, b"b" * 100, b"c" * 100]
    assert after.find(key_of("a")) == before.find(key_of("a"))


async def test_a_record_can_be_replaced(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path)
    store_original(store, "a", b"abc")
    renewed = record_of("a", b"abc").revalidated(NOW + 50, Lifetimes(100, 10, 20))
    store.update(key_of("a"), renewed)
    assert store.find(key_of("a")) == OriginalCache(tmp_path).find(key_of("a")) == renewed
    assert renewed.lifetimes == Lifetimes(100, 10, 20)
    store.update(key_of("a"), record_of("a", b"other bytes"))
    store.update(key_of("a"), record_of("a", b"abc", generation=1))  # of a purged original
    assert store.find(key_of("a")) == renewed


# ------------------------------------------------------------------------------------------ limits


async def test_the_least_recently_used_are_evicted_first(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path, limit_bytes=1000)
    for n in range(10):
        store_original(store, f"{n}", b"x" * 100)
    store.find(key_of("0"))
    store_original(store, "new", b"x" * 100)
    assert store.bytes == 1000
    assert ("cropmark_cache_evictions_total", ("originals",), 1) in set(store.samples())
    assert await body_of(store, "0") is not None
    assert await body_of(store, "1") is None
    assert files(tmp_path).count(".body") == 10


def test_the_number_of_entries_is_limited(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path, limit_entries=3)
    for n in range(5):
        store_original(store, f"{n}", b"x")
    assert [store.find(key_of(f"{n}")) is not None for n in range(5)] == [False, False, True, True, True]
    assert len(OriginalCache(tmp_path, limit_entries=2)) == 2


@pytest.mark.parametrize(("length", "is_stored"), [(125, True), (126, False)])
def test_an_original_takes_an_eighth_at_most(tmp_path: Path, length: int, is_stored: bool) -> None:
    store = OriginalCache(tmp_path, limit_bytes=1000)
    assert store_original(store, "a", b"x" * length) is is_stored
    assert files(tmp_path) == ([".body", ".json"] if is_stored else [])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 130), st.booleans()), max_size=40))
def test_the_index_matches_the_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]]
) -> None:
    """After any sequence of stores and drops: the counted bytes are on disk, and within the limit."""
    folder = tmp_path_factory.mktemp("originals")
    store = OriginalCache(folder, limit_bytes=500)
    for name, length, is_dropped in steps:
        store_original(store, name, name.encode() * min(length, 62))
        if is_dropped:
            store.drop(key_of(name))
    bodies = [path.stat().st_size for path in folder.glob("*.body")]
    assert (sum(bodies), len(bodies)) == (store.bytes, len(store))
    assert store.bytes <= 500
    assert len(list(folder.iterdir())) == 2 * len(store)


# ------------------------------------------------------------------------------------------ purges


async def test_a_purge_makes_a_new_generation(tmp_path: Path) -> None:
    now = [NOW]
    store = OriginalCache(tmp_path, clock=lambda: now[0])
    store_original(store, "a/1", b"x")
    store_original(store, "b/1", b"y")
    assert store.generation("web:http://a.example/a/1") == 0
    store.purge("web:http://a.example/a/")
    assert await body_of(store, "a/1") is None
    assert await body_of(store, "b/1") == b"y"
    first = store.generation("web:http://a.example/a/1")
    assert (first > 0, store.generation("web:http://a.example/b/1")) == (True, 0)
    store.purge("web:http://a.example/a/1")
    assert store.generation("web:http://a.example/a/1") > first  # also within one millisecond
    assert store.generation("web:http://a.example/a/2") == first


def test_a_fetch_started_before_a_purge_is_not_stored(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path)
    spool = store.spool()
    spool.write(b"x")
    store.purge("web:")
    assert not store.store(key_of("a"), spool, record_of("a", b"x", generation=0))
    spool.discard()
    assert store_original(store, "a", b"x")
    record = OriginalCache(tmp_path).find(key_of("a"))
    assert record is not None
    assert record.version.generation == store.generation("web:")  # in the record, after a restart too


def test_the_number_of_remembered_purges_is_limited(tmp_path: Path) -> None:
    """Past the limit, generations may increase too often but never too rarely."""
    store = OriginalCache(tmp_path)
    store.purge("web:http://first.example/")
    first = store.generation("web:http://first.example/a")
    for n in range(2000):
        store.purge(f"web:http://{n}.example/")
    assert store.generation("web:http://first.example/a") >= first > 0


# ------------------------------------------------------------------------------------------ corruption

Corruption = Callable[[Path], object]

# fmt: off
CORRUPTIONS: dict[str, Corruption] = {
    "shortened":     lambda body: body.write_bytes(body.read_bytes()[:-1]),
    "lengthened":    lambda body: body.write_bytes(body.read_bytes() + b"x"),
    "one bit":       lambda body: body.write_bytes(bytes([body.read_bytes()[0] ^ 1]) + body.read_bytes()[1:]),
    "emptied":       lambda body: body.write_bytes(b""),
    "gone":          lambda body: body.unlink(),
}
RECORDS = [
    "", "{", "[]", "null", "{}", '{"identity": 1}', "\x00", '{"identity": "' + "x" * 9000,
    json.dumps({**json.loads(encode_record(record_of("a", b"x"))), "bytes": "1"}),
    json.dumps({**json.loads(encode_record(record_of("a", b"x"))), "etag": 5}),
    json.dumps({**json.loads(encode_record(record_of("a", b"x"))), "bytes": -1}),
    json.dumps({**json.loads(encode_record(record_of("a", b"x"))), "more": 1}),
]
# fmt: on


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
async def test_a_corrupt_body_is_never_returned(tmp_path: Path, corrupt: Corruption) -> None:
    """check_40. The process that wrote a body does not check its digest; a restarted one does."""
    store_original(OriginalCache(tmp_path), "a", b"abc" * 100)
    corrupt(next(tmp_path.glob("*.body")))
    after = OriginalCache(tmp_path)
    indexed = len(after)  # 0 for another length, which the start finds
    assert await body_of(after, "a") is None
    assert ("cropmark_cache_damaged_total", ("originals",), indexed) in set(after.samples())
    assert (len(after), after.bytes) == (0, 0)
    assert after.find(key_of("a")) is None
    assert store_original(after, "b", b"abc")


@pytest.mark.parametrize("text", RECORDS)
async def test_a_corrupt_record_is_not_read(tmp_path: Path, text: str) -> None:
    store_original(OriginalCache(tmp_path), "a", b"x")
    next(tmp_path.glob("*.json")).write_text(text)
    assert len(OriginalCache(tmp_path)) == 0
    assert list(tmp_path.glob("*.json")) == []


async def test_old_unfinished_files_are_removed(tmp_path: Path) -> None:
    """Another process may be writing the young ones."""
    store_original(OriginalCache(tmp_path), "a", b"x")
    old, young, stray = tmp_path / "part-old", tmp_path / "part-young", tmp_path / f"{key_of('b')}-0123.body"
    for path in (old, young, stray):
        path.write_bytes(b"half")
    for path in (old, stray):
        os.utime(path, (time.time() - 100, time.time() - 100))
    assert len(OriginalCache(tmp_path)) == 1
    assert (old.exists(), stray.exists(), young.exists()) == (False, False, True)


async def test_two_processes_may_share_a_folder(tmp_path: Path) -> None:
    """An original that one evicts is a miss for the other."""
    one = OriginalCache(tmp_path)
    store_original(one, "a", b"abc")
    two = OriginalCache(tmp_path)
    one.drop(key_of("a"))
    assert two.find(key_of("a")) is not None
    assert await body_of(two, "a") is None
    assert two.find(key_of("a")) is None


KILLED = """
    import hashlib, itertools, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from tests.sources.source_suite import store_original
    from cropmark.sources.original_cache import OriginalCache
    store = OriginalCache(Path(sys.argv[1]), limit_bytes=400_000)
    for n in itertools.count():
        store_original(store, f"{n % 40}", f"{n}".encode() * 5000)
        print(n, flush=True)
"""


async def test_kill_9_leaves_complete_originals_only(tmp_path: Path) -> None:
    """After a kill during a write, every complete original is returned and no incomplete one."""
    root = Path(__file__).parents[2]
    for writes in (3, 60):
        arguments = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(root)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < writes:
                pass
            process.send_signal(signal.SIGKILL)
        store = OriginalCache(tmp_path, limit_bytes=400_000)
        records = {name: store.find(key_of(name)) for name in map(str, range(40))}
        stored = {name: record for name, record in records.items() if record is not None}
        assert len(stored) > 0
        bodies = [(await body_of(store, name), record) for name, record in stored.items()]
        assert all(body is not None and hashlib.sha256(body).hexdigest() == r.digest for body, r in bodies)


# ------------------------------------------------------------------------------------------ a full disk


class FullDisk:
    """os.pwrite() that fails for files below `prefixes` after a number of bytes."""

    def __init__(self, prefixes: tuple[str, ...], after: int) -> None:
        self.prefixes = prefixes
        self.left = after
        self.write = os.pwrite

    def __call__(self, descriptor: int, piece: bytes | memoryview, at: int) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(self.prefixes):
            if self.left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            piece = piece[: self.left]  # the last successful write is short, as on a real disk
            self.left -= len(piece)
        return self.write(descriptor, piece, at)


linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the path of a file in /proc")


@linux
async def test_on_a_full_disk_the_image_is_still_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """check_40: the body goes to the temporary folder and is not stored. Other originals are evicted."""
    folder = tmp_path / "originals"
    store = OriginalCache(folder)
    for n in range(16):
        store_original(store, f"{n}", b"x" * 100)
    monkeypatch.setattr(os, "pwrite", FullDisk((str(folder),), after=1500))
    body = os.urandom(5000)
    spool = store.spool()
    for at in range(0, len(body), 700):
        spool.write(body[at : at + 700])
    assert spool.digest == hashlib.sha256(body).hexdigest()
    descriptor = spool.open_for_reading()
    assert not store.store(key_of("new"), spool, record_of("new", body))
    spool.discard()
    assert os.pread(descriptor, 9999, 0) == body
    os.close(descriptor)
    assert len(store) == 14  # an eighth was evicted
    assert files(folder).count("part-") == 0


@linux
async def test_after_freeing_space_the_original_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OriginalCache(tmp_path)
    full = FullDisk((str(tmp_path),), after=100)
    monkeypatch.setattr(os, "pwrite", full)

    def free_space() -> None:
        full.left = 10_000

    monkeypatch.setattr(store, "_shrink", free_space)
    assert store_original(store, "a", b"abc" * 300)
    assert await body_of(store, "a") == b"abc" * 300


@linux
def test_without_any_disk_space_it_raises_overloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OriginalCache(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pwrite", FullDisk(("/",), after=10))
    spool = store.spool()
    with pytest.raises(Overloaded, match="not enough disk space") as caught:
        spool.write(b"x" * 100)
    spool.discard()
    assert caught.value.retry_after_s == 10
    assert files(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_unusable_folder_is_reported_at_the_start(tmp_path: Path) -> None:
    """Later errors are logged; a wrong setting stops the start."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OSError, match="Not a directory"):
        OriginalCache(blocked / "originals")


async def test_a_removed_folder_stores_nothing(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path / "originals")
    assert store_original(store, "a", b"abc")
    shutil.rmtree(tmp_path / "originals")
    assert not store_original(store, "b", b"abc")
    assert await body_of(store, "a") is None
    assert len(store) == 0


async def test_a_body_without_its_record_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OriginalCache(tmp_path)
    monkeypatch.setattr(os, "fdopen", _full_disk)
    assert not store_original(store, "a", b"abc")
    monkeypatch.undo()
    assert files(tmp_path) == []
    assert len(store) == 0


def _full_disk(descriptor: int, *_: object, **__: object) -> None:
    os.close(descriptor)
    raise OSError(errno.ENOSPC, "No space left on device")


# ------------------------------------------------------------------------------------------ records

# fmt: off
USES = [
    # seconds since the fetch, origin failing   freshness
    (0,   False, Freshness.FRESH),
    (59,  False, Freshness.FRESH),
    (60,  False, Freshness.STALE),
    (60,  True,  Freshness.FRESH),     # the origin failed a moment ago
    (119, False, Freshness.STALE),
    (120, False, Freshness.EXPIRED),
    (120, True,  Freshness.FRESH),     # stale-if-error
    (599, True,  Freshness.FRESH),
    (600, True,  Freshness.EXPIRED),
]
# fmt: on


@pytest.mark.parametrize(("after_s", "failing", "expected"), USES)
def test_freshness(after_s: float, failing: bool, expected: Freshness) -> None:
    assert record_of("a", b"x").freshness(NOW + after_s, failing=failing) is expected


@given(st.text(max_size=50), st.none() | st.text(max_size=20), st.floats(0, 1e10), st.integers(0, 10**13))
def test_records_are_read_as_written(
    tmp_path_factory: pytest.TempPathFactory, url: str, etag: str | None, fresh: float, generation: int
) -> None:
    path = tmp_path_factory.mktemp("record") / "r.json"
    record = replace(record_of("a", b"x", generation), final_url=url, etag=etag, fresh_until_s=fresh)
    path.write_text(encode_record(record), "ascii")
    assert read_record(path) == record
