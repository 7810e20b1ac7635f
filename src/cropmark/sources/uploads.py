"""Pictures that came with a request: written to files without a name, held by their digest until the request ends."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cropmark.model.problems import Overloaded, SourceNotFound, SourceTooLarge
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.ports import OpenSource, SourceVersion
from cropmark.sources.shared_file import handed

ALL_BYTES = 2**30
"""Of all that is held at the same time: strangers must not fill the disk."""


@dataclass(slots=True)
class _Held:
    descriptor: int
    bytes: int
    requests: int = 1


class TemporaryUploads:
    """Implements ports.Uploads. The files lie in `folder`; nothing of them is left when the process dies.

    Equal bytes of several requests are held once, and until the last of these lets go.
    """

    def __init__(self, folder: Path, limit_bytes: int = ALL_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._held: dict[str, _Held] = {}

    def new_writer(self, limit_bytes: int) -> TemporaryUploadWriter:
        """A new picture of at most so many bytes is on its way."""
        return TemporaryUploadWriter(self, limit_bytes)

    def stat(self, where: SitePath | WebUrl | UploadRef) -> SourceVersion:
        return self._found(where)[1]

    async def open(self, where: SitePath | WebUrl | UploadRef) -> OpenSource:
        held, stamp = self._found(where)
        return handed(os.dup(held.descriptor), held.bytes, stamp)

    def identity(self, where: SitePath | WebUrl | UploadRef) -> str:
        """`upload:` and the digest. Raises SourceMissing for what is no upload."""
        if not isinstance(where, UploadRef):
            raise _missing()
        return f"upload:{where.digest}"

    def purge(self, identity_prefix: str) -> None:
        """Nothing: the digest is the name, and whoever holds the bytes sent them."""

    async def close(self) -> None:
        """Let go of everything."""
        while self._held:
            held = self._held.popitem()[1]
            os.close(held.descriptor)

    # ------------------------------------------------------------------------------- what an Intake calls

    def folder(self) -> Path:
        """Where new files are made."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder

    def grow(self, count: int) -> None:
        """Count bytes in. Raises Overloaded past the limit of all together."""
        if self._bytes + count > self._limit_bytes:
            raise _no_room()
        self._bytes += count

    def shrink(self, count: int) -> None:
        """Count bytes out."""
        self._bytes -= count

    def take(self, digest: str, count: int, reading: Callable[[], int]) -> None:
        """Hold a finished file, or let one that is held already stand for it too."""
        held = self._held.get(digest)
        if held is None:
            self._held[digest] = _Held(reading(), count)
        else:
            held.requests += 1
            self.shrink(count)

    def release(self, digest: str) -> None:
        """One request less that needs it."""
        held = self._held.get(digest)
        if held is None:
            return
        held.requests -= 1
        if not held.requests:
            del self._held[digest]
            os.close(held.descriptor)
            self.shrink(held.bytes)

    def _found(self, where: SitePath | WebUrl | UploadRef) -> tuple[_Held, SourceVersion]:
        identity = self.identity(where)
        digest = identity.partition(":")[2]
        held = self._held.get(digest)
        if held is None:
            raise _missing()
        return held, SourceVersion(identity, digest, versioned=True)


class TemporaryUploadWriter:
    """Implements ports.Intake: one picture on its way to a file without a name."""

    def __init__(self, uploads: TemporaryUploads, limit_bytes: int) -> None:
        self._uploads = uploads
        self._limit_bytes = limit_bytes
        self._descriptor = -1
        self._sum = hashlib.sha256()
        self._digest = ""
        """Once it is held."""
        self._length = 0

    @property
    def length(self) -> int:
        """Bytes that have come."""
        return self._length

    def write(self, piece: bytes) -> None:
        if self._length + len(piece) > self._limit_bytes:
            raise SourceTooLarge(
                f"expected a picture of at most {self._limit_bytes:,} bytes, got more", fix="send a smaller one"
            )
        self._uploads.grow(len(piece))
        self._length += len(piece)
        try:
            self._open()
            _write_all(self._descriptor, piece)
        except OSError as full:
            raise _no_room() from full
        self._sum.update(piece)

    def finish(self) -> UploadRef:
        self._open()
        digest = self._sum.hexdigest()
        self._uploads.take(digest, self._length, self._reading)
        self._digest = digest
        self._close()
        return UploadRef(digest)

    def discard(self) -> None:
        if self._digest:
            self._uploads.release(self._digest)
        else:
            self._uploads.shrink(self._length)
        self._digest, self._length = "", 0
        self._close()

    def _open(self) -> None:
        if self._descriptor < 0:
            # Unlinked from the start: whatever becomes of us, nothing stays on the disk.
            with tempfile.TemporaryFile(dir=self._uploads.folder(), buffering=0) as file:
                self._descriptor = os.dup(file.fileno())

    def _reading(self) -> int:
        # A renderer gets this descriptor: it may read, and not write into what other requests hold too.
        return os.open(f"/dev/fd/{self._descriptor}", os.O_RDONLY | os.O_CLOEXEC)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write_all(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _missing() -> SourceNotFound:
    return SourceNotFound("there is no such upload", fix="send the picture with the request")


def _no_room() -> Overloaded:
    return Overloaded("there is no room to take in a picture", fix="try again later", retry_after_s=10)
