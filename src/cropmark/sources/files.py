"""The pictures of a folder, by their path under it.

A path that does not name a picture file inside the folder is missing, whatever the reason: one text for all, so that
nobody learns what else there is. Names that begin with a dot are never served, which shuts out `.` and `..` as well
as `.git` and `.env`. Symbolic links are followed, but not out of the folder.
"""

from __future__ import annotations

import errno
import fcntl
import io
import itertools
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import structlog

from cropmark.model.formats import SNIFFED_BYTES, sniffed
from cropmark.model.problems import SourceFailed, SourceNotFound
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.ports import OpenSource, SourceVersion, purge_matches
from cropmark.runtime.file_io import FileCalls, FileState

log = structlog.get_logger("cropmark.sources")

# O_NONBLOCK: a FIFO would keep us waiting for its writer. O_NOCTTY: a terminal would become ours.
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

# Each part: not empty, no dot first, no slash, backslash, NUL, or half of a surrogate pair.
_PART: Final = r"[^./\\\0\ud800-\udfff][^/\\\0\ud800-\udfff]*"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})*")

_TROUBLE: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN}
)
"""What says nothing of whether there is such a file: too many are open, or the disk fails."""
_GENERATIONS_LIMIT: Final = 64
_SEEN_LIMIT: Final = 8192
"""Stamps that are kept, to be compared with what is seen: making one takes longer than the look."""
_WALKED_LIMIT: Final = 20_000


class FolderSource:
    """A Source over the files of a folder.

    The folder may itself be a link that is pointed elsewhere while we run: it is looked up each time.
    """

    def __init__(self, root: Path, name: str = "files") -> None:
        self.root = root.absolute()
        self._prefix = f"{self.root}/"
        self._prefix_bytes = os.fsencode(self._prefix)
        self._name = name
        self._look = FileCalls().stat
        self._seen: dict[str, tuple[FileState, int, SourceVersion]] = {}
        self._purges = 0
        self._purged: dict[str, int] = {}
        self._generation = 0

    def stat(self, where: SitePath | WebUrl | UploadRef) -> SourceVersion:
        """The stamp by one look. Whether the file lies inside is open()'s to tell: no cache has it until then."""
        path = where.path if isinstance(where, SitePath) else ""
        known = self._seen.get(path)
        if known is None:
            path = _name_of(where)
        try:
            look = self._look(self._prefix_bytes + path.encode())
        except OSError as error:
            _unopened(path, error)
        if known is not None and known[0] == look and known[1] == self._purges:
            return known[2]
        stamp = self._stamp(path, look)
        if len(self._seen) >= _SEEN_LIMIT:
            self._seen.clear()
        self._seen[path] = (look, self._purges, stamp)
        return stamp

    async def open(self, where: SitePath | WebUrl | UploadRef) -> OpenSource:
        # Not by a thread, whose coming and going takes half a millisecond of the processor: it is a few system calls,
        # none of which reads the file or waits for a writer, and glance() is on the event loop too.
        return self._opened(_name_of(where))

    def identity(self, where: SitePath | WebUrl | UploadRef) -> str:
        """`files:sky/blue.jpg`; of a path that names no file as well, or the beginning of one. Raises SourceMissing."""
        if not isinstance(where, SitePath):
            _missing()
        return f"{self._name}:{where.path}"

    def purge(self, named: str) -> None:
        self._purges += 1
        self._purged[named] = self._purged.get(named, 0) + 1
        if len(self._purged) > _GENERATIONS_LIMIT:
            # Everything becomes of a generation that nothing had before: it costs some hits, and no memory.
            self._generation += sum(self._purged.values())
            self._purged.clear()

    async def close(self) -> None:
        """Nothing is held open."""

    def pictures(self, limit: int) -> list[str]:
        """Paths of the first pictures by name, folder by folder; of the first 20,000 files, only real pictures."""
        return list(itertools.islice(self._pictures(), limit))

    def count(self) -> int:
        """How many pictures there are among the first 20,000 files."""
        return sum(1 for _ in self._pictures())

    def _opened(self, path: str) -> OpenSource:
        try:
            descriptor = os.open(self._prefix + path, _OPEN)
        except ValueError:
            _missing()
        except OSError as error:
            _unopened(path, error)
        try:
            # Looked at through the descriptor: whatever is swapped in the folder now, it stays this file.
            status = os.fstat(descriptor)
            stamp = self._stamp(path, FileState.of(status))
            if not _real_path(descriptor).is_relative_to(self.root.resolve()):
                _missing()
        except BaseException:
            os.close(descriptor)
            raise
        # FileIO: its close() may be called twice, and one that is forgotten is closed all the same.
        file = io.FileIO(descriptor)
        return OpenSource(descriptor, status.st_size, stamp, file.close)

    def _stamp(self, path: str, look: FileState) -> SourceVersion:
        """Raises SourceMissing for all but a regular file."""
        if not stat.S_ISREG(look.mode):
            _missing()
        identity = f"{self._name}:{path}"
        version = f"{look.mtime_ns:x}-{look.size:x}-{look.inode:x}"
        return SourceVersion(identity, version, self._generation_of(identity), look.mtime_ns / 1e9)

    def _generation_of(self, identity: str) -> int:
        if not self._purged:
            return self._generation
        return self._generation + sum(n for prefix, n in self._purged.items() if purge_matches(prefix, identity))

    def _pictures(self) -> Iterator[str]:
        return filter(self._is_picture, itertools.islice(_walked(self.root), _WALKED_LIMIT))

    def _is_picture(self, path: str) -> bool:
        try:
            opened = self._opened(path)
        except SourceNotFound:
            return False
        try:
            return sniffed(os.pread(opened.descriptor, SNIFFED_BYTES, 0)) is not None
        except OSError:
            return False
        finally:
            opened.close()


def _name_of(where: SitePath | WebUrl | UploadRef) -> str:
    """The path, if it is one that a file of ours could have. Raises SourceMissing.

    It was percent-decoded once: what still looks like `%2e` is a name like any other.
    """
    if not isinstance(where, SitePath) or _NAME.fullmatch(where.path) is None:
        _missing()
    return where.path


def _unopened(path: str, error: OSError) -> NoReturn:
    """Raises SourceMissing, SourceFailed."""
    if error.errno in _TROUBLE:
        log.warning("a file cannot be opened", path=path, why=error.strerror)
        raise SourceFailed("the picture cannot be read now", fix="try again later") from error
    if error.errno == errno.EACCES:  # the client hears nothing of it, the operator must
        log.warning("a file may not be read", path=path)
    _missing()


def _missing() -> NoReturn:
    raise SourceNotFound("there is no such picture") from None


def _real_path(descriptor: int) -> Path:
    """Where the opened file lies, links followed."""
    if sys.platform == "darwin":
        return Path(os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0")))
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _walked(root: Path) -> Iterator[str]:
    """Paths of files under the root that could be named in a URL, sorted; links to folders are not followed."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if _NAME.fullmatch(name))
        inside = Path(folder).relative_to(root)
        yield from ((inside / name).as_posix() for name in sorted(files) if _NAME.fullmatch(name))
