"""Files that are complete or absent: content, permissions, and nothing left after a failure."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cropmark.runtime.atomic_file import new_part_file, write_atomically, write_with_umask


def failing_pieces() -> Iterator[bytes]:
    yield b"half"
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_written_and_replaced(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    assert write_atomically(path, [b"first"], durable=durable) == 5
    assert write_atomically(path, [b"sec", b"ond!"], durable=durable) == 7
    assert path.read_bytes() == b"second!"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_may_be_in_another_folder(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    seen: list[str] = []

    def pieces() -> Iterator[bytes]:
        seen.extend(path.name for path in parts.iterdir())
        yield b"body"

    write_atomically(tmp_path / "file", pieces(), folder=parts, prefix="part-")
    assert [name.startswith("part-") for name in seen] == [True]
    assert list(parts.iterdir()) == []


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, failing_pieces())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", [b"body"])


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0, 0o666)])
def test_the_umask_gives_the_permissions(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_with_umask(tmp_path / "file", b"body")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "file") == mode
    assert (tmp_path / "file").read_bytes() == b"body"


def test_a_part_file_is_private_and_not_inherited(tmp_path: Path) -> None:
    descriptor, path = new_part_file(tmp_path)
    try:
        assert mode_of(path) == 0o600
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)
