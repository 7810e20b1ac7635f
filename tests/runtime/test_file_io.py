"""Looks and reads tell what os.stat() and os.read() tell, and fail as they do."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.runtime.file_io import FileCalls, FileState

NS = 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"eleven byte")
    (tmp_path / "empty").touch()
    (tmp_path / "grün und 空").write_bytes(bytes(5000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nothing")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


def calls(*, bare: bool = False) -> FileCalls:
    """`bare`: as where libc has none of the newer calls."""
    made = FileCalls()
    if bare:
        made._statx = made._preadv2 = None
    return made


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("name", ["file", "empty", "grün und 空", "folder", "link", "fifo", "/dev/null"])
def test_a_look_tells_what_stat_tells(folder: Path, name: str, bare: bool) -> None:
    path = folder / name
    assert calls(bare=bare).stat(os.fsencode(path)) == FileState.of(path.stat())


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("name", ["nothing", "dangling", "file/below", "x" * 300])
def test_nothing_to_see(folder: Path, name: str, bare: bool) -> None:
    with pytest.raises(OSError) as caught:
        calls(bare=bare).stat(os.fsencode(folder / name))
    with pytest.raises(OSError) as expected:
        (folder / name).stat()
    assert caught.value.errno == expected.value.errno
    assert isinstance(caught.value, type(expected.value))


@settings(deadline=None, max_examples=50)
@given(st.integers(-(2**33), 2**34), st.integers(0, NS - 1))
def test_any_time(tmp_path_factory: pytest.TempPathFactory, seconds: int, nanoseconds: int) -> None:
    path = tmp_path_factory.getbasetemp() / "timed"
    path.touch()
    os.utime(path, ns=(0, seconds * NS + nanoseconds))
    assert FileCalls().stat(os.fsencode(path)) == FileState.of(path.stat())


@pytest.mark.parametrize("name", ["file", "empty", "grün und 空"])
def test_a_read_brings_all_of_it(folder: Path, name: str) -> None:
    path = folder / name
    look, data = FileCalls().read(os.fsencode(path), 5000)
    assert data == path.read_bytes()
    assert look == FileState.of(path.stat())
    data += b"more"  # nothing holds it fast


@pytest.mark.parametrize("start", [0, 1, 4, 11])
def test_the_rest_of_a_file_that_is_as_it_was(folder: Path, start: int) -> None:
    path = os.fsencode(folder / "file")
    made = FileCalls()
    assert made.rest(path, made.stat(path), start) == b"eleven byte"[start:]


def test_nothing_of_a_file_that_is_not_as_it_was(folder: Path) -> None:
    path = os.fsencode(folder / "file")
    made = FileCalls()
    known = made.stat(path)
    os.utime(path, ns=(0, known.mtime_ns + 1))
    assert made.rest(path, known, 4) is None
    (folder / "file").unlink()
    with pytest.raises(FileNotFoundError):
        made.rest(path, known, 4)


# fmt: off
REFUSED = [
    # name         most    error
    ("nothing",    9999,   FileNotFoundError),
    ("link",       9999,   OSError),            # ELOOP: a link in the cache folder is none of ours
    ("file",         10,   BlockingIOError),    # larger than may be read at once
]
# fmt: on


@pytest.mark.parametrize(("name", "most", "error"), REFUSED)
def test_what_is_not_read(folder: Path, name: str, most: int, error: type[OSError]) -> None:
    with pytest.raises(error):
        FileCalls().read(os.fsencode(folder / name), most)


@pytest.mark.parametrize(("read", "number"), [(-1, errno.EAGAIN), (-1, errno.EOPNOTSUPP), (3, 0)])
def test_what_is_not_all_in_the_page_cache_is_for_somebody_who_can_wait(folder: Path, read: int, number: int) -> None:
    def preadv2(*_: object) -> int:
        ctypes.set_errno(number)
        return read

    made = calls()
    made._preadv2 = preadv2
    with pytest.raises(BlockingIOError):
        made.read(os.fsencode(folder / "file"), 5000)


def test_without_the_newer_calls_nothing_is_read_at_once(folder: Path) -> None:
    with pytest.raises(BlockingIOError):
        calls(bare=True).read(os.fsencode(folder / "file"), 5000)


def test_no_descriptor_stays_open(folder: Path) -> None:
    made, before = FileCalls(), len(os.listdir("/proc/self/fd"))
    for name in ("file", "nothing", "link", "empty") * 20:
        with contextlib.suppress(OSError):
            made.read(os.fsencode(folder / name), 4)
    assert len(os.listdir("/proc/self/fd")) == before
