"""An index of the tags of cache entries, so that a purge reads a few hundred files instead of every entry.

    FOLDER/3f   one line for each entry with a key that begins with 3f: the key, its tags as JSON texts, `.`, with tabs

- A line is appended before its entry appears, so a killed process leaves no entry without a line. After a power failure
  an entry may lack its line. EntryStore.scan() adds missing lines, also for entries of versions without an index.
- Lines of removed entries remain until rewrite(): a line is a hint, and the file of the entry decides.
- Each line begins with its newline, so a line that a full disk or a power failure cut is not joined to the next one.
- Several processes may share a folder: the file is locked while an entry is added or the file is replaced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import Path
from typing import Final

from pydantic_core import to_json

from cropmark.ports import Digest
from cropmark.runtime.atomic_file import write_atomically

SHARDS: Final = tuple(f"{number:02x}" for number in range(256))
"""The first two digits of keys: the names of the index files and of the subfolders of entries."""

_KEY_BYTES: Final = 64
_END: Final = b"\t."
_LINES_PER_ENTRY: Final = 2
"""An index file with more lines per entry than this is rewritten."""
_FEW_LINES: Final = 64
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of file systems without locks. Only one process may use a folder on them."""


class TagIndex:
    """The index files in a folder. Every method may raise OSError."""

    def __init__(self, folder: Path, part_folder: Path) -> None:
        """`part_folder` is for files that are being written. It must be on the same file system as `folder`."""
        self._folder = folder
        self._part_folder = part_folder

    def prepare(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)

    @contextlib.contextmanager
    def adding(self, key: Digest, tags: Iterable[str]) -> Iterator[None]:
        """Add a line for an entry. The caller creates the entry's file inside the block.

        A file created later could lose its line to rewrite(). Raises ValueError if a tag cannot be written as JSON.
        """
        line = b"\n" + b"".join((b"\t".join((key.encode(), *map(to_json, tags))), _END))
        with self._locked(key[:2], fcntl.LOCK_SH) as descriptor:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
            yield

    def read(self, shard: str) -> bytes:
        """The lines of a shard's index file; empty if it does not exist."""
        try:
            return Path(f"{self._folder}/{shard}").read_bytes()
        except FileNotFoundError:
            return b""

    def rewrite(self, shard: str, names: Callable[[], Container[bytes]]) -> None:
        """Rewrite a shard's index file: drop the lines of removed entries, and all but the last line of each key.

        `names` returns the keys of the existing entries.
        """
        with self._locked(shard, fcntl.LOCK_EX):
            lines = {line[:_KEY_BYTES]: line for line in self.read(shard).split(b"\n") if line.endswith(_END)}
            existing = names()
            kept = [b"\n" + line for key, line in lines.items() if key in existing]
            write_atomically(self._folder / shard, kept, folder=self._part_folder)

    @contextlib.contextmanager
    def _locked(self, shard: str, operation: int) -> Iterator[int]:
        """Lock a shard's index file and open it for appending. Creates the file if it is missing."""
        path = f"{self._folder}/{shard}"
        while True:
            descriptor = _open_for_appending(path)
            try:
                _lock(descriptor, operation)
                if os.fstat(descriptor).st_nlink:  # else another process has replaced the file
                    yield descriptor
                    return
            finally:
                os.close(descriptor)


def tag_needle(tag_prefix: str) -> bytes:
    """The bytes to search for in the lines of the index: a tab, then the start of `tag_prefix` as JSON.

    They match only at the start of a tag, since a text in JSON contains no tab. Raises ValueError if no tag can have
    the prefix.
    """
    return b"\t" + to_json(tag_prefix)[:-1]  # without the closing quote


def keys_with(needle: bytes, lines: bytes) -> set[bytes]:
    """The keys of the lines that contain `needle`."""
    # A search in the whole text is faster by far, and most purges are of an image with entries in few shards.
    return {line[:_KEY_BYTES] for line in lines.split(b"\n") if needle in line} if needle in lines else set()


def indexed_keys(lines: bytes) -> set[bytes]:
    """The keys that have a complete line in the index."""
    return {line[:_KEY_BYTES] for line in lines.split(b"\n") if line.endswith(_END)}


def needs_rewriting(lines: bytes, entries: int) -> bool:
    """True if most lines belong to entries that were removed or replaced. `entries` is the number of entries."""
    return lines.count(b"\n") > entries * _LINES_PER_ENTRY + _FEW_LINES


def _open_for_appending(path: str) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:  # another process has emptied the cache folder
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, flags, 0o600)


def _lock(descriptor: int, operation: int) -> None:
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
