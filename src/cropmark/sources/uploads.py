"""Stores the images that are uploaded with a request, in unnamed temporary files, until the request ends.

An upload is found by the digest of its bytes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cropmark.model.problems import Overloaded, SourceNotFound, SourceTooLarge
from cropmark.plan.source import SourceRef, UploadRef
from cropmark.ports import OpenSource, SourceVersion

TOTAL_LIMIT_BYTES = 2**30
"""Default limit of the total size of all uploads, so that clients cannot fill the disk."""


@dataclass(slots=True)
class _HeldUpload:
    descriptor: int
    bytes: int
    requests: int = 1
    """Number of requests that use the file."""


class TemporaryUploads:
    """A ports.UploadStore with files in `folder`. The files disappear if the process dies.

    If several requests upload equal bytes, these are stored once, until the last of the requests ends.
    """

    def __init__(self, folder: Path, limit_bytes: int = TOTAL_LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._uploads: dict[str, _HeldUpload] = {}

    def new_writer(self, limit_bytes: int) -> TemporaryUploadWriter:
        """A writer for one upload of at most `limit_bytes`."""
        return TemporaryUploadWriter(self, limit_bytes)

    def stat(self, ref: SourceRef) -> SourceVersion:
        return self._find(ref)[1]

    async def open(self, ref: SourceRef) -> OpenSource:
        upload, version = self._find(ref)
        return OpenSource.from_fd(os.dup(upload.descriptor), upload.bytes, version)

    def identity(self, ref: SourceRef) -> str:
        """The identity of an upload: `upload:` and its digest. Raises SourceNotFound for other kinds of references."""
        if not isinstance(ref, UploadRef):
            raise _missing()
        return f"upload:{ref.digest}"

    def purge(self, prefix: str) -> None:
        """Do nothing: a digest identifies the bytes, so an upload is never out of date."""

    async def close(self) -> None:
        """Close all files."""
        while self._uploads:
            upload = self._uploads.popitem()[1]
            os.close(upload.descriptor)

    # ------------------------------------------------------------------------------- for TemporaryUploadWriter

    def create_folder(self) -> Path:
        """Create the folder for new files if it is missing, and return its path."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._folder

    def reserve(self, count: int) -> None:
        """Reserve `count` bytes of the total limit. Raises Overloaded if they are not available."""
        if self._bytes + count > self._limit_bytes:
            raise _no_space()
        self._bytes += count

    def free(self, count: int) -> None:
        """Make `count` reserved bytes available again."""
        self._bytes -= count

    def add(self, digest: str, count: int, open_for_reading: Callable[[], int]) -> None:
        """Add a complete file of `count` bytes.

        If a file with this digest exists, only count one more request for it.
        """
        upload = self._uploads.get(digest)
        if upload is None:
            self._uploads[digest] = _HeldUpload(open_for_reading(), count)
        else:
            upload.requests += 1
            self.free(count)

    def release(self, digest: str) -> None:
        """Count one request less that uses the file. After the last request, closes the file."""
        upload = self._uploads.get(digest)
        if upload is None:
            return
        upload.requests -= 1
        if not upload.requests:
            del self._uploads[digest]
            os.close(upload.descriptor)
            self.free(upload.bytes)

    def _find(self, ref: SourceRef) -> tuple[_HeldUpload, SourceVersion]:
        identity = self.identity(ref)
        digest = identity.partition(":")[2]
        upload = self._uploads.get(digest)
        if upload is None:
            raise _missing()
        return upload, SourceVersion(identity, digest, versioned=True)


class TemporaryUploadWriter:
    """A ports.UploadWriter that writes one upload to an unnamed file."""

    def __init__(self, uploads: TemporaryUploads, limit_bytes: int) -> None:
        self._uploads = uploads
        self._limit_bytes = limit_bytes
        self._descriptor = -1
        self._hash = hashlib.sha256()
        self._digest = ""
        """The digest of the upload; empty before finish()."""
        self._length = 0

    @property
    def length(self) -> int:
        """Bytes received so far."""
        return self._length

    def write(self, piece: bytes) -> None:
        if self._length + len(piece) > self._limit_bytes:
            raise SourceTooLarge(
                f"expected an image of at most {self._limit_bytes:,} bytes, got more", fix="send a smaller image"
            )
        self._uploads.reserve(len(piece))
        self._length += len(piece)
        try:
            self._open()
            _write_all(self._descriptor, piece)
        except OSError as error:
            raise _no_space() from error
        self._hash.update(piece)

    def finish(self) -> UploadRef:
        self._open()
        digest = self._hash.hexdigest()
        self._uploads.add(digest, self._length, self._open_for_reading)
        self._digest = digest
        self._close()
        return UploadRef(digest)

    def discard(self) -> None:
        if self._digest:
            self._uploads.release(self._digest)
        else:
            self._uploads.free(self._length)
        self._digest, self._length = "", 0
        self._close()

    def _open(self) -> None:
        if self._descriptor < 0:
            # Without a name from the start: nothing remains on the disk, even after a crash.
            with tempfile.TemporaryFile(dir=self._uploads.create_folder(), buffering=0) as file:
                self._descriptor = os.dup(file.fileno())

    def _open_for_reading(self) -> int:
        # A renderer receives this descriptor. It must not be able to write to a file that other requests use.
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
    return SourceNotFound("the upload does not exist", fix="send the image with the request")


def _no_space() -> Overloaded:
    return Overloaded("not enough disk space for this image", fix="try again later", retry_after_s=10)
