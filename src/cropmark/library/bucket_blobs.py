"""Bytes by their digest, in an object store."""

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
    """Implements Blobs: one object a digest, `assets/ab/cdef…`."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._copies = BlobCache()

    @classmethod
    def at(cls, url: str, *, role: bool = False) -> BucketBlobStore:
        """Raises LibraryUnusable for what is no URL of a store, or without a key to it."""
        return cls(Bucket.at(url, SETTING, role=role))

    def check(self) -> None:
        """Raises LibraryUnusable where the store cannot be reached, or does not let us see what it holds."""
        self._bucket.check(_FOLDER, SETTING)

    def put(self, digest: str, source: OpenSource) -> None:
        # Also where it is there already: it counts as new from now on.
        self._bucket.put(_name(digest), source)

    def open(self, digest: str) -> int:
        """A descriptor of a copy without a name, which is gone some time after it is closed."""
        descriptor = self._copies.open(digest)
        if descriptor is not None:
            return descriptor
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever takes it closes it
        try:
            self._bucket.fetch(_name(digest), file)
        except BaseException:
            file.close()
            raise
        return self._copies.take(digest, file)

    def age_s(self, digest: str) -> float | None:
        try:
            modified: datetime = self._bucket.head(_name(digest))["last_modified"]
        except FileNotFoundError:
            return None
        return (datetime.now(UTC) - modified).total_seconds()

    def remove(self, digest: str) -> None:
        self._copies.evict(digest)
        self._bucket.remove(_name(digest))

    def digests(self) -> Iterator[str]:
        for one in self._bucket.listed(_FOLDER):
            digest = "".join(str(one["path"]).rsplit("/", 2)[-2:])
            if _DIGEST.fullmatch(digest):
                yield digest

    def tidy(self) -> int:
        """Nothing: a store tells of no object that was not finished."""
        return 0


def _name(digest: str) -> str:
    return f"{_FOLDER}/{digest[:2]}/{digest[2:]}"
