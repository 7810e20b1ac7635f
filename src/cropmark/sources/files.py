"""Serves the images of a local folder, by their path below the folder.

A path that does not name a file inside the folder raises SourceNotFound. The error text is the same for every reason,
so that clients cannot find out which other files exist. Names that begin with a dot are never served, such as `..`,
`.git` and `.env`. Symbolic links are followed, but not out of the folder.

As in nginx, several slashes count as one. A name with an accent has two spellings in Unicode, and programs write both.
If no file has the spelling in the path, a file with the other spelling is served.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn
from unicodedata import normalize

import structlog

from cropmark.model.problems import SourceFailed, SourceNotFound
from cropmark.plan.source import SitePath, SourceRef
from cropmark.ports import OpenSource, SourceVersion
from cropmark.runtime.file_io import FileCalls, FileState
from cropmark.runtime.purge_generations import PurgeGenerations
from cropmark.runtime.reads import source_format

log = structlog.get_logger("cropmark.sources")

# O_NONBLOCK: opening a FIFO would wait for a writer. O_NOCTTY: a terminal would become our controlling terminal.
_OPEN: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY

# A part of a path: not empty, not beginning with a dot, without slash, backslash, NUL, or half of a surrogate pair.
_PART: Final = r"[^./\\\0\ud800-\udfff][^/\\\0\ud800-\udfff]*"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_SLASHES: Final = re.compile("//+")

_SYSTEM_ERRORS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN}
)
"""Errors that do not show whether the file exists: too many open files, or a failing disk."""
_MAX_PURGES: Final = 64
_MAX_VERSIONS: Final = 8192
"""Largest number of versions in memory. Creating a SourceVersion takes longer than the system call that checks one."""
_MAX_LISTED_FILES: Final = 20_000


class FolderSource:
    """The Source of the files in a local folder.

    The folder may be a symbolic link. Its target may change while the server runs: the link is resolved for every
    request.
    """

    def __init__(self, root: Path, name: str = "files") -> None:
        self.root = root.absolute()
        self._prefix = f"{self.root}/"
        self._prefix_bytes = os.fsencode(self._prefix)
        self._name = name
        self._stat = FileCalls().stat
        self._versions: dict[str, tuple[FileState, int, SourceVersion]] = {}
        """For each path: its version, and the state of the file and the number of purges when the version was
        created."""
        self._generations = PurgeGenerations(_MAX_PURGES)

    def stat(self, ref: SourceRef) -> SourceVersion:
        """The version of a file, from one system call. Does not check that the file is inside the folder.

        open() checks this, so no cache contains a rendition of a file outside the folder.
        """
        path = ref.path if isinstance(ref, SitePath) else ""
        known = self._versions.get(path)
        if known is None:
            path = _checked_path(ref)
        try:
            state = self._stat(self._prefix_bytes + path.encode())
        except OSError as error:
            return self.stat(SitePath(self._other_spelling(path, error)))
        purges = self._generations.purges
        if known is not None and known[0] == state and known[1] == purges:
            return known[2]
        version = self._version(path, state)
        if len(self._versions) >= _MAX_VERSIONS:
            self._versions.clear()
        self._versions[path] = (state, purges, version)
        return version

    async def open(self, ref: SourceRef) -> OpenSource:
        # Not in a thread, which costs half a millisecond of CPU: a few system calls that do not read the file or wait
        # for a writer. stat() runs on the event loop too.
        return self._open(_checked_path(ref))

    def identity(self, ref: SourceRef) -> str:
        """The identity of a path, such as `files:sky/blue.jpg`. The file need not exist.

        Raises SourceNotFound if `ref` is not a path.
        """
        if not isinstance(ref, SitePath):
            _raise_not_found()
        return self._identity(_SLASHES.sub("/", ref.path).removeprefix("/"))

    def purge(self, prefix: str) -> None:
        self._generations.add(prefix)

    async def close(self) -> None:
        """Do nothing: no file is open between requests."""

    def images(self, limit: int) -> list[str]:
        """The paths of at most `limit` images, sorted within each folder. Reads at most 20,000 files."""
        return list(itertools.islice(self._images(), limit))

    def count(self) -> int:
        """The number of images among the first 20,000 files."""
        return sum(1 for _ in self._images())

    def _open(self, path: str) -> OpenSource:
        try:
            descriptor = os.open(self._prefix + path, _OPEN)
        except ValueError:
            _raise_not_found()
        except OSError as error:
            return self._open(self._other_spelling(path, error))
        try:
            # All checks use the descriptor: replacing the file now cannot change their result.
            status = os.fstat(descriptor)
            version = self._version(path, FileState.of(status))
            if not self._contains(_real_path(descriptor)):
                _raise_not_found()
        except BaseException:
            os.close(descriptor)
            raise
        return OpenSource.from_fd(descriptor, status.st_size, version)

    def _contains(self, real_path: str) -> bool:
        """True if the path is inside the folder. `real_path` must not contain symbolic links."""
        if real_path.startswith(self._prefix):  # then the path of the folder has no links either
            return True
        return real_path.startswith(f"{os.path.realpath(self.root).rstrip('/')}/")

    def _version(self, path: str, state: FileState) -> SourceVersion:
        """The version of a file in this state. Raises SourceNotFound if it is not a regular file."""
        if not stat.S_ISREG(state.mode):
            _raise_not_found()
        identity = self._identity(path)
        version = f"{state.mtime_ns:x}-{state.size:x}-{state.inode:x}"
        return SourceVersion(identity, version, self._generations.of(identity), state.mtime_ns / 1e9)

    def _identity(self, path: str) -> str:
        """The identity of a path. Both Unicode spellings have the same identity, so that a purge covers both."""
        return f"{self._name}:{path if path.isascii() else normalize('NFC', path)}"

    def _other_spelling(self, path: str, error: OSError) -> str:
        """Find the file with the other Unicode spelling of `path`, after `path` could not be opened. Returns its path.

        `error` is the error of the failed call. Raises SourceNotFound, or SourceFailed.
        """
        if error.errno != errno.ENOENT or path.isascii():
            _raise_open_error(path, error)
        found: list[str] = []
        for part in path.split("/"):
            spellings = dict.fromkeys((part, normalize("NFC", part), normalize("NFD", part)))
            paths = ["/".join((*found, each)) for each in spellings if _NAME.fullmatch(each)]
            existing = next((each for each in paths if os.path.lexists(self._prefix + each)), None)
            if existing is None:
                _raise_not_found()
            found = existing.split("/")
        other = "/".join(found)
        if other == path:  # it has been created since the first call
            _raise_open_error(path, error)
        return other

    def _images(self) -> Iterator[str]:
        return filter(self._is_image, itertools.islice(_walk(self.root), _MAX_LISTED_FILES))

    def _is_image(self, path: str) -> bool:
        try:
            source = self._open(path)
        except SourceNotFound:
            return False
        try:
            return source_format(source) is not None
        except OSError:
            return False
        finally:
            source.close()


def _checked_path(ref: SourceRef) -> str:
    """The path of a reference, without repeated slashes. Raises SourceNotFound if a served file cannot have this path.

    The path was percent-decoded once, so a `%2e` in it is part of the file's name.
    """
    if not isinstance(ref, SitePath):
        _raise_not_found()
    path = _SLASHES.sub("/", ref.path).removeprefix("/")
    if _NAME.fullmatch(path) is None:
        _raise_not_found()
    return path


def _raise_open_error(path: str, error: OSError) -> NoReturn:
    """Raise SourceFailed if the system failed, else SourceNotFound."""
    if error.errno in _SYSTEM_ERRORS:
        log.warning("a file cannot be opened", path=path, error=error.strerror)
        raise SourceFailed("the image cannot be read now", fix="try again later") from error
    if error.errno == errno.EACCES:  # a missing file to the client; the operator needs the reason
        log.warning("no permission to read a file", path=path)
    _raise_not_found()


def _raise_not_found() -> NoReturn:
    raise SourceNotFound("the image does not exist") from None


def _real_path(descriptor: int) -> str:
    """The path of an open file, with links resolved."""
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - a Path takes longer than the call


def _walk(root: Path) -> Iterator[str]:
    """Yields the paths of all files below `root` that a URL can name, in sorted order.

    Links to folders are not followed.
    """
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if _NAME.fullmatch(name))
        inside = Path(folder).relative_to(root)
        yield from ((inside / name).as_posix() for name in sorted(files) if _NAME.fullmatch(name))
