"""FileCalls return the results of os.stat() and os.read(), and raise the same errors."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.runtime.file_io import FileCalls, FileState
from tests.runtime.stub_libc import StubLibc

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


def calls(*, old_libc: bool = False) -> FileCalls:
    """`old_libc`: a C library without statx() and preadv2()."""
    return FileCalls(StubLibc(missing=("statx", "preadv2")) if old_libc else None)


@pytest.mark.parametrize("old_libc", [False, True])
@pytest.mark.parametrize("name", ["file", "empty", "grün und 空", "folder", "link", "fifo", "/dev/null"])
def test_stat_equals_os_stat(folder: Path, name: str, old_libc: bool) -> None:
    path = folder / name
    assert calls(old_libc=old_libc).stat(os.fsencode(path)) == FileState.of(path.stat())


@pytest.mark.parametrize("old_libc", [False, True])
@pytest.mark.parametrize("name", ["nothing", "dangling", "file/below", "x" * 300])
def test_stat_raises_like_os_stat(folder: Path, name: str, old_libc: bool) -> None:
    with pytest.raises(OSError) as caught:
        calls(old_libc=old_libc).stat(os.fsencode(folder / name))
    with pytest.raises(OSError) as expected:
        (folder / name).stat()
    assert caught.value.errno == expected.value.errno
    assert isinstance(caught.value, type(expected.value))


@settings(deadline=None, max_examples=50)
@given(st.integers(-(2**33), 2**34), st.integers(0, NS - 1))
def test_any_mtime(tmp_path_factory: pytest.TempPathFactory, seconds: int, nanoseconds: int) -> None:
    path = tmp_path_factory.getbasetemp() / "timed"
    path.touch()
    os.utime(path, ns=(0, seconds * NS + nanoseconds))
    assert FileCalls().stat(os.fsencode(path)) == FileState.of(path.stat())


@pytest.mark.parametrize("name", ["file", "empty", "grün und 空"])
def test_read_returns_the_whole_file(folder: Path, name: str) -> None:
    path = folder / name
    state, data = FileCalls().read(os.fsencode(path), 5000)
    assert data == path.read_bytes()
    assert state == FileState.of(path.stat())
    data += b"more"  # it can be resized


@pytest.mark.parametrize("start", [0, 1, 4, 11])
def test_read_unchanged_returns_the_rest_of_an_unchanged_file(folder: Path, start: int) -> None:
    path = os.fsencode(folder / "file")
    file_calls = FileCalls()
    assert file_calls.read_unchanged(path, file_calls.stat(path), start) == b"eleven byte"[start:]


def test_read_unchanged_returns_none_for_a_changed_file(folder: Path) -> None:
    path = os.fsencode(folder / "file")
    file_calls = FileCalls()
    known = file_calls.stat(path)
    os.utime(path, ns=(0, known.mtime_ns + 1))
    assert file_calls.read_unchanged(path, known, 4) is None
    (folder / "file").unlink()
    with pytest.raises(FileNotFoundError):
        file_calls.read_unchanged(path, known, 4)


# fmt: off
REJECTED = [
    # name         limit   error
    ("nothing",    9999,   FileNotFoundError),
    ("link",       9999,   OSError),            # ELOOP: a link
    ("file",         10,   BlockingIOError),    # larger than the limit
]
# fmt: on


@pytest.mark.parametrize(("name", "max_bytes", "error"), REJECTED)
def test_read_rejects(folder: Path, name: str, max_bytes: int, error: type[OSError]) -> None:
    with pytest.raises(error):
        FileCalls().read(os.fsencode(folder / name), max_bytes)


@pytest.mark.parametrize("result", [(-1, errno.EAGAIN), (-1, errno.EOPNOTSUPP), (3, 0)])
def test_a_file_that_is_not_in_the_page_cache_raises_blocking_io_error(folder: Path, result: tuple[int, int]) -> None:
    libc = StubLibc()
    libc.preadv2_result = result
    with pytest.raises(BlockingIOError):
        FileCalls(libc).read(os.fsencode(folder / "file"), 5000)


def test_an_old_libc_raises_blocking_io_error(folder: Path) -> None:
    with pytest.raises(BlockingIOError):
        calls(old_libc=True).read(os.fsencode(folder / "file"), 5000)


def test_no_descriptor_stays_open(folder: Path) -> None:
    file_calls, before = FileCalls(), len(os.listdir("/proc/self/fd"))
    for name in ("file", "nothing", "link", "empty") * 20:
        with contextlib.suppress(OSError):
            file_calls.read(os.fsencode(folder / name), 4)
    assert len(os.listdir("/proc/self/fd")) == before
