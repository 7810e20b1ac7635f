"""Bytes by their digest, in an object store: a bucket by its URL, or a folder, by obstore.

Its keys come from where its own tools have them (AWS_ACCESS_KEY_ID and its companions in the environment).
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from cropmark.library.blobs import pieces
from cropmark.library.database import LibraryUnusable
from cropmark.ports import Opened

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ObjectBlobs:
    """Implements Blobs: one object a digest, `assets/ab/cdef…`. Stores write an object whole or not at all."""

    def __init__(self, store: Any) -> None:  # obstore brings no types
        self._store = store

    @classmethod
    def at(cls, url: str) -> ObjectBlobs:
        """The store at `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///folder`. Raises LibraryUnusable."""
        try:
            parts = urlsplit(url)
            if parts.scheme == "file":
                return cls(LocalStore(Path(unquote(parts.path)), mkdir=True))
            return cls(from_url(url))
        except Exception as error:
            raise LibraryUnusable(f"library_store: {error}", "write s3://bucket/prefix or file:///folder") from error

    def put(self, digest: str, source: Opened) -> None:
        # Also where it is there already: it counts as new from now on.
        self._told(lambda: obstore.put(self._store, _name(digest), pieces(source)))

    def open(self, digest: str) -> int:
        """A descriptor of a copy without a name, which is gone when it is closed."""
        with tempfile.TemporaryFile() as file:
            for piece in self._told(lambda: obstore.get(self._store, _name(digest))).stream():
                file.write(piece)
            file.flush()
            return os.open(f"/dev/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)

    def age_s(self, digest: str) -> float | None:
        try:
            found = self._told(lambda: obstore.head(self._store, _name(digest)))
        except FileNotFoundError:
            return None
        modified: datetime = found["last_modified"]
        return (datetime.now(UTC) - modified).total_seconds()

    def remove(self, digest: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._told(lambda: obstore.delete(self._store, _name(digest)))

    def digests(self) -> Iterator[str]:
        for found in self._told(lambda: list(obstore.list(self._store, "assets"))):
            for one in found:
                digest = "".join(str(one["path"]).rsplit("/", 2)[-2:])
                if _DIGEST.fullmatch(digest):
                    yield digest

    def tidy(self) -> int:
        """Nothing: a store tells of no object that was not finished."""
        return 0

    @staticmethod
    def _told(act: Any) -> Any:  # obstore brings no types
        """What the act returns; trouble with the store is told as OSError."""
        try:
            return act()
        except NotFoundError as error:
            raise FileNotFoundError("no such object") from error
        except BaseError as error:
            raise OSError(f"the object store failed: {type(error).__name__}") from error


def _name(digest: str) -> str:
    return f"assets/{digest[:2]}/{digest[2:]}"
