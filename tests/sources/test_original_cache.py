"""The store of originals: whole or not there, within its bounds, through kill -9 and a full disk."""

from __future__ import annotations

import asyncio
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
from cropmark.sources.original_record import Freshness, read_record, written
from tests.sources.source_suite import NOW, keep, key_of, record_of


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


# ------------------------------------------------------------------------------------------ keeping


async def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path / "originals")
    assert keep(store, "a", b"abc" * 1000)
    assert await body_of(store, "a") == b"abc" * 1000
    assert store.find(key_of("a")) == record_of("a", b"abc" * 1000)
    assert store.find(key_of("b")) is None
    assert (len(store), store.bytes) == (1, 3000)
    assert (tmp_path / "originals").stat().st_mode & 0o077 == 0  # URLs may carry signatures


async def test_a_newer_body_takes_the_place(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path)
    keep(store, "a", b"old")
    held = await store.read(key_of("a"))
    keep(store, "a", b"newer")
    assert await body_of(store, "a") == b"newer"
    assert (len(store), store.bytes) == (1, 5)
    assert files(tmp_path) == [".body", ".json"]
    assert held is not None
    assert os.pread(held[0], 9, 0) == b"old"  # who reads it reads it to its end
    os.close(held[0])


async def test_after_a_restart_all_is_there(tmp_path: Path) -> None:
    before = OriginalCache(tmp_path)
    for name in "abc":
        keep(before, name, name.encode() * 100)
    after = OriginalCache(tmp_path)
    assert (len(after), after.bytes) == (3, 300)
    assert [await body_of(after, name) for name in "abc"] == [b"a" * 100, b"b" * 100, b"c" * 100]
    assert after.find(key_of("a")) == before.find(key_of("a"))


async def test_a_new_record_over_the_same_bytes(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path)
    keep(store, "a", b"abc")
    renewed = record_of("a", b"abc").revalidated(NOW + 50, Lifetimes(100, 10, 20))
    store.update(key_of("a"), renewed)
    assert store.find(key_of("a")) == OriginalCache(tmp_path).find(key_of("a")) == renewed
    assert renewed.lifetimes == Lifetimes(100, 10, 20)
    store.update(key_of("a"), record_of("a", b"other bytes"))
    store.update(key_of("a"), record_of("a", b"abc", generation=1))  # purged meanwhile
    assert store.find(key_of("a")) == renewed


# ------------------------------------------------------------------------------------------ bounds


async def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path, limit_bytes=1000)
    for n in range(10):
        keep(store, f"{n}", b"x" * 100)
    store.find(key_of("0"))
    keep(store, "new", b"x" * 100)
    assert store.bytes == 1000
    assert await body_of(store, "0") is not None
    assert await body_of(store, "1") is None
    assert files(tmp_path).count(".body") == 10


def test_so_many_entries_and_no_more(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path, limit_entries=3)
    for n in range(5):
        keep(store, f"{n}", b"x")
    assert [store.find(key_of(f"{n}")) is not None for n in range(5)] == [False, False, True, True, True]
    assert len(OriginalCache(tmp_path, limit_entries=2)) == 2


@pytest.mark.parametrize(("length", "kept"), [(125, True), (126, False)])
def test_one_is_an_eighth_at_most(tmp_path: Path, length: int, kept: bool) -> None:
    store = OriginalCache(tmp_path, limit_bytes=1000)
    assert keep(store, "a", b"x" * length) is kept
    assert files(tmp_path) == ([".body", ".json"] if kept else [])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 130), st.booleans()), max_size=40))
def test_the_count_is_that_of_the_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]]
) -> None:
    """Whatever is kept, replaced, dropped and purged: the bytes counted lie on disk, within the bound."""
    folder = tmp_path_factory.mktemp("originals")
    store = OriginalCache(folder, limit_bytes=500)
    for name, length, stays in steps:
        keep(store, name, name.encode() * min(length, 62))
        if not stays:
            store.drop(key_of(name))
    bodies = [path.stat().st_size for path in folder.glob("*.body")]
    assert (sum(bodies), len(bodies)) == (store.bytes, len(store))
    assert store.bytes <= 500
    assert len(list(folder.iterdir())) == 2 * len(store)


# ------------------------------------------------------------------------------------------ purges


async def test_a_purge_makes_a_new_generation(tmp_path: Path) -> None:
    now = [NOW]
    store = OriginalCache(tmp_path, clock=lambda: now[0])
    keep(store, "a/1", b"x")
    keep(store, "b/1", b"y")
    assert store.generation("web:http://a.example/a/1") == 0
    store.purge("web:http://a.example/a/")
    assert await body_of(store, "a/1") is None
    assert await body_of(store, "b/1") == b"y"
    first = store.generation("web:http://a.example/a/1")
    assert (first > 0, store.generation("web:http://a.example/b/1")) == (True, 0)
    store.purge("web:http://a.example/a/1")
    assert store.generation("web:http://a.example/a/1") > first  # also within one millisecond
    assert store.generation("web:http://a.example/a/2") == first


def test_what_was_begun_before_a_purge_is_not_kept(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path)
    spool = store.spool()
    spool.write(b"x")
    store.purge("web:")
    assert not store.store(key_of("a"), spool, record_of("a", b"x", generation=0))
    spool.discard()
    assert keep(store, "a", b"x")
    record = OriginalCache(tmp_path).find(key_of("a"))
    assert record is not None
    assert record.version.generation == store.generation("web:")  # it outlives the process


def test_purges_are_remembered_within_a_bound(tmp_path: Path) -> None:
    """What falls out of the list counts for all: a generation may rise too often, never too seldom."""
    store = OriginalCache(tmp_path)
    store.purge("web:http://first.example/")
    first = store.generation("web:http://first.example/a")
    for n in range(2000):
        store.purge(f"web:http://{n}.example/")
    assert store.generation("web:http://first.example/a") >= first > 0


# ------------------------------------------------------------------------------------------ damage

Damage = Callable[[Path], object]

# fmt: off
DAMAGES: dict[str, Damage] = {
    "shortened":     lambda body: body.write_bytes(body.read_bytes()[:-1]),
    "lengthened":    lambda body: body.write_bytes(body.read_bytes() + b"x"),
    "one bit":       lambda body: body.write_bytes(bytes([body.read_bytes()[0] ^ 1]) + body.read_bytes()[1:]),
    "emptied":       lambda body: body.write_bytes(b""),
    "gone":          lambda body: body.unlink(),
}
RECORDS = [
    "", "{", "[]", "null", "{}", '{"identity": 1}', "\x00", '{"identity": "' + "x" * 9000,
    json.dumps({**json.loads(written(record_of("a", b"x"))), "bytes": "1"}),
    json.dumps({**json.loads(written(record_of("a", b"x"))), "etag": 5}),
    json.dumps({**json.loads(written(record_of("a", b"x"))), "bytes": -1}),
    json.dumps({**json.loads(written(record_of("a", b"x"))), "more": 1}),
]
# fmt: on


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_body_is_never_given(tmp_path: Path, damage: Damage) -> None:
    """check_40. In the process that wrote it a changed bit stays unseen: digests are compared after a restart."""
    keep(OriginalCache(tmp_path), "a", b"abc" * 100)
    damage(next(tmp_path.glob("*.body")))
    after = OriginalCache(tmp_path)
    assert await body_of(after, "a") is None
    assert (len(after), after.bytes) == (0, 0)
    assert after.find(key_of("a")) is None
    assert keep(after, "b", b"abc")


@pytest.mark.parametrize("text", RECORDS)
async def test_a_damaged_record_is_never_read(tmp_path: Path, text: str) -> None:
    keep(OriginalCache(tmp_path), "a", b"x")
    next(tmp_path.glob("*.json")).write_text(text)
    assert len(OriginalCache(tmp_path)) == 0
    assert list(tmp_path.glob("*.json")) == []


async def test_leftovers_are_swept_when_they_are_old(tmp_path: Path) -> None:
    """But for a minute they may be another process' own."""
    keep(OriginalCache(tmp_path), "a", b"x")
    old, young, stray = tmp_path / "part-old", tmp_path / "part-young", tmp_path / f"{key_of('b')}-0123.body"
    for path in (old, young, stray):
        path.write_bytes(b"half")
    for path in (old, stray):
        os.utime(path, (time.time() - 100, time.time() - 100))
    assert len(OriginalCache(tmp_path)) == 1
    assert (old.exists(), stray.exists(), young.exists()) == (False, False, True)


async def test_two_processes_may_share_a_folder(tmp_path: Path) -> None:
    """What one pushes out the other misses, and no more."""
    one = OriginalCache(tmp_path)
    keep(one, "a", b"abc")
    two = OriginalCache(tmp_path)
    one.drop(key_of("a"))
    assert two.find(key_of("a")) is not None
    assert await body_of(two, "a") is None
    assert two.find(key_of("a")) is None


KILLED = """
    import hashlib, itertools, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from tests.sources.source_suite import keep
    from cropmark.sources.original_cache import OriginalCache
    store = OriginalCache(Path(sys.argv[1]), limit_bytes=400_000)
    print("ready", flush=True)
    for n in itertools.count():
        keep(store, f"{n % 40}", f"{n}".encode() * 5000)
"""


async def test_kill_9_leaves_whole_ones_only(tmp_path: Path) -> None:
    """DESIGN §5: killed in the middle of writing, every whole entry is still given and no half one."""
    root = Path(__file__).parents[2]
    for wait_s in (0.07, 0.16):
        arguments = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(root)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            await asyncio.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
        store = OriginalCache(tmp_path, limit_bytes=400_000)
        records = {name: store.find(key_of(name)) for name in map(str, range(40))}
        kept = {name: record for name, record in records.items() if record is not None}
        assert len(kept) > 0
        bodies = [(await body_of(store, name), record) for name, record in kept.items()]
        assert all(body is not None and hashlib.sha256(body).hexdigest() == r.digest for body, r in bodies)


# ------------------------------------------------------------------------------------------ a full disk


class FullDisk:
    """os.pwrite that refuses to write to files whose path begins so, after so many bytes."""

    def __init__(self, prefixes: tuple[str, ...], after: int) -> None:
        self.prefixes = prefixes
        self.left = after
        self.write = os.pwrite

    def __call__(self, descriptor: int, piece: bytes | memoryview, at: int) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(self.prefixes):
            if self.left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            piece = piece[: self.left]  # the last write before it is a short one, as with a real disk
            self.left -= len(piece)
        return self.write(descriptor, piece, at)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to tell files apart")


@linux
async def test_on_a_full_disk_the_picture_is_still_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """check_40: it goes on in the system's temporary folder, is read from there, and not kept. Room is made."""
    folder = tmp_path / "originals"
    store = OriginalCache(folder)
    for n in range(16):
        keep(store, f"{n}", b"x" * 100)
    monkeypatch.setattr(os, "pwrite", FullDisk((str(folder),), after=1500))
    body = os.urandom(5000)
    spool = store.spool()
    for at in range(0, len(body), 700):
        spool.write(body[at : at + 700])
    assert spool.digest == hashlib.sha256(body).hexdigest()
    descriptor = spool.reading()
    assert not store.store(key_of("new"), spool, record_of("new", body))
    spool.discard()
    assert os.pread(descriptor, 9999, 0) == body
    os.close(descriptor)
    assert len(store) == 14  # an eighth gave way
    assert files(folder).count("part-") == 0


@linux
async def test_where_room_could_be_made_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OriginalCache(tmp_path)
    full = FullDisk((str(tmp_path),), after=100)
    monkeypatch.setattr(os, "pwrite", full)

    def make_room() -> None:
        full.left = 10_000

    monkeypatch.setattr(store, "_shrink", make_room)
    assert keep(store, "a", b"abc" * 300)
    assert await body_of(store, "a") == b"abc" * 300


@linux
def test_where_there_is_no_room_at_all_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OriginalCache(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pwrite", FullDisk(("/",), after=10))
    spool = store.spool()
    with pytest.raises(Overloaded, match="no room") as caught:
        spool.write(b"x" * 100)
    spool.discard()
    assert caught.value.retry_after_s == 10
    assert files(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    """Later trouble is lived with; a wrong setting is better told to the operator."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(OSError, match="Not a directory"):
        OriginalCache(blocked / "originals")


async def test_a_folder_that_goes_away_keeps_nothing(tmp_path: Path) -> None:
    store = OriginalCache(tmp_path / "originals")
    assert keep(store, "a", b"abc")
    shutil.rmtree(tmp_path / "originals")
    assert not keep(store, "b", b"abc")
    assert await body_of(store, "a") is None
    assert len(store) == 0


async def test_a_record_that_cannot_be_written_takes_its_body_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = OriginalCache(tmp_path)
    monkeypatch.setattr(os, "fdopen", _no_room)
    assert not keep(store, "a", b"abc")
    monkeypatch.undo()
    assert files(tmp_path) == []
    assert len(store) == 0


def _no_room(descriptor: int, *_: object, **__: object) -> None:
    os.close(descriptor)
    raise OSError(errno.ENOSPC, "No space left on device")


# ------------------------------------------------------------------------------------------ records

# fmt: off
USES = [
    # seconds after it was fetched, its origin failing   use
    (0,   False, Freshness.FRESH),
    (59,  False, Freshness.FRESH),
    (60,  False, Freshness.STALE),
    (60,  True,  Freshness.FRESH),     # it was asked a moment ago
    (119, False, Freshness.STALE),
    (120, False, Freshness.EXPIRED),
    (120, True,  Freshness.FRESH),     # stale-if-error
    (599, True,  Freshness.FRESH),
    (600, True,  Freshness.EXPIRED),
]
# fmt: on


@pytest.mark.parametrize(("after_s", "failing", "expected"), USES)
def test_use(after_s: float, failing: bool, expected: Freshness) -> None:
    assert record_of("a", b"x").use(NOW + after_s, failing=failing) is expected


@given(st.text(max_size=50), st.none() | st.text(max_size=20), st.floats(0, 1e10), st.integers(0, 10**13))
def test_records_are_read_as_written(
    tmp_path_factory: pytest.TempPathFactory, url: str, etag: str | None, fresh: float, generation: int
) -> None:
    path = tmp_path_factory.mktemp("record") / "r.json"
    record = replace(record_of("a", b"x", generation), final_url=url, etag=etag, fresh_until_s=fresh)
    path.write_text(written(record), "ascii")
    assert read_record(path) == record
