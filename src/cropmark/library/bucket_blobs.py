"""Stores the bytes of asset files (blobs) in an object store. Each blob is named by its digest."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from cropmark.library.blob_cache import BlobCache
from cropmark.library.bucket import Bucket
from cropmark.ports import OpenSource

SETTING: Final = "library_store"
_FOLDER: Final = "assets"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class BucketBlobStore:
    """A BlobStore in an object store. The bytes with the digest `abcdef…` are in the object `assets/ab/cdef…`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._cache = BlobCache()

    @classmethod
    def from_url(cls, url: str, *, role: bool = False) -> BucketBlobStore:
        """The blob store in the bucket at a URL.

        Raises LibraryUnavailable if the URL is not valid or credentials are missing.
        """
        return cls(Bucket.from_url(url, SETTING, role=role))

    def check(self) -> None:
        """Check that the store can be reached and lists its objects. Raises LibraryUnavailable."""
        self._bucket.check(_FOLDER, SETTING)

    def put(self, digest: str, source: OpenSource) -> None:
        # Also if the object exists: writing it again renews its age.
        self._bucket.put(_object_path(digest), source)

    def open(self, digest: str) -> int:
        """A file descriptor of a local copy of the object. The object is downloaded unless a copy is cached."""
        descriptor = self._cache.open(digest)
        if descriptor is not None:
            return descriptor
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the cache closes it
        try:
            self._bucket.fetch(_object_path(digest), file)
        except BaseException:
            file.close()
            raise
        return self._cache.add(digest, file)

    def age_s(self, digest: str) -> float | None:
        try:
            modified: datetime = self._bucket.head(_object_path(digest))["last_modified"]
        except FileNotFoundError:
            return None
        return (datetime.now(UTC) - modified).total_seconds()

    def remove(self, digest: str) -> None:
        self._cache.evict(digest)
        self._bucket.remove(_object_path(digest))

    def digests(self) -> Iterator[str]:
        for entry in self._bucket.objects(_FOLDER):
            digest = "".join(str(entry["path"]).rsplit("/", 2)[-2:])
            if _DIGEST.fullmatch(digest):
                yield digest

    def remove_unfinished(self) -> int:
        """Do nothing and return 0: an object store does not list unfinished objects."""
        return 0


def _object_path(digest: str) -> str:
    return f"{_FOLDER}/{digest[:2]}/{digest[2:]}"
