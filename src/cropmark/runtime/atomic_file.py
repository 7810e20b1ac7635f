"""Writes files that appear complete or not at all: under a temporary name first, then renamed.

A rename is atomic only within one file system, so the temporary file is in the folder of the final file or next to it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def write_atomically(
    path: Path, pieces: Iterable[bytes], *, folder: Path | None = None, prefix: str = "", durable: bool = False
) -> int:
    """Write `pieces` to the file `path`, and return its size in bytes. Replaces an existing file.

    The temporary file is in `folder`; None: in the folder of `path`. Its name begins with `prefix`. `durable`: the file
    survives a power failure. The file has mode 0600. Raises OSError, and then leaves no temporary file.
    """
    descriptor, part = new_part_file(folder or path.parent, prefix)
    return _write_and_rename(descriptor, part, path, pieces, durable=durable)


def write_with_umask(path: Path, body: bytes) -> None:
    """Like write_atomically(), but with the permissions of the umask. For files that a user requested."""
    descriptor, part = new_part_file(path.parent, ".cropmark-", mode=0o666)
    _write_and_rename(descriptor, part, path, (body,), durable=False)


def new_part_file(folder: Path, prefix: str = "", *, mode: int = 0o600) -> tuple[int, Path]:
    """Create an empty temporary file, and return its descriptor and its path. Raises OSError.

    The descriptor is open for reading and writing.
    """
    part = folder / f"{prefix}{secrets.token_hex(8)}"
    return os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), part


def sync_folder(folder: Path) -> None:
    """Write the list of a folder's files to disk, so that new files survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_and_rename(descriptor: int, part: Path, path: Path, pieces: Iterable[bytes], *, durable: bool) -> int:
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(pieces)
            size = file.tell()
            if durable:
                file.flush()
                os.fsync(descriptor)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)
    return size
