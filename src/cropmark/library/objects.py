"""Bytes by their digest, in an object store: a bucket by its URL, or a folder, by obstore.

Where it is and the keys to it come from where its own tools have them: AWS_ENDPOINT, AWS_ACCESS_KEY_ID and their
companions in the environment (docs/configuration.md).
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from cropmark.library.blobs import pieces
from cropmark.library.copies import Copies
from cropmark.library.places import LibraryUnusable
from cropmark.ports import Opened

log = structlog.get_logger("cropmark.library")

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_WHOLE: Final = 5 * 2**20
"""Bytes that are put in one request. More go in parts; what is broken off there a bucket's lifecycle rule removes."""
# Given up within ten seconds: somebody waits, and the library's other writers with them. A large file that moves on
# has as long as it needs.
_RETRIES: Final[Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=6),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}
_PATIENCE: Final[dict[str, Any]] = {"connect_timeout": "2s", "read_timeout": "5s", "timeout": "10m"}
_YES: Final = ("1", "true", "yes", "on")
_MEND: Final = "check its name, AWS_ENDPOINT (AWS_ALLOW_HTTP=true for http://) and the keys: docs/configuration.md"


class ObjectBlobs:
    """Implements Blobs: one object a digest, `assets/ab/cdef…`. Stores write an object whole or not at all."""

    def __init__(self, store: Any) -> None:  # obstore brings no types
        self._store = store
        self._copies = Copies()

    @classmethod
    def at(cls, url: str) -> ObjectBlobs:
        """The store at `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///folder`. Raises LibraryUnusable."""
        try:
            parts = urlsplit(url)
            if parts.scheme == "file":
                return cls(LocalStore(Path(unquote(parts.path)), mkdir=True))
            return cls(from_url(url, client_options=_client(), retry_config=_RETRIES))
        except Exception as error:
            why = f"library_store: {_why(error)}"
            raise LibraryUnusable(why, "write s3://bucket/prefix or file:///folder") from error

    def check(self) -> None:
        """Raises LibraryUnusable where the store cannot be reached, or does not let us see what it holds."""
        try:
            next(iter(obstore.list(self._store, "assets")), None)
        except BaseError as error:
            raise LibraryUnusable(f"library_store cannot be used: {_why(error)}", _MEND) from error

    def put(self, digest: str, source: Opened) -> None:
        # Also where it is there already: it counts as new from now on.
        body = b"".join(pieces(source)) if source.bytes <= _WHOLE else pieces(source)
        self._told(lambda: obstore.put(self._store, _name(digest), body))

    def open(self, digest: str) -> int:
        """A descriptor of a copy without a name, which is gone some time after it is closed."""
        descriptor = self._copies.open(digest)
        if descriptor is not None:
            return descriptor
        file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever takes it closes it
        try:
            self._told(lambda: self._fetch(digest, file))
        except BaseException:
            file.close()
            raise
        return self._copies.take(digest, file)

    def _fetch(self, digest: str, file: IO[bytes]) -> None:
        file.writelines(obstore.get(self._store, _name(digest)).stream())
        file.flush()

    def age_s(self, digest: str) -> float | None:
        try:
            found = self._told(lambda: obstore.head(self._store, _name(digest)))
        except FileNotFoundError:
            return None
        modified: datetime = found["last_modified"]
        return (datetime.now(UTC) - modified).total_seconds()

    def remove(self, digest: str) -> None:
        self._copies.forget(digest)
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
            log.warning("the object store failed", why=_why(error))
            raise OSError(f"the object store failed: {_why(error)}") from error


def _client() -> Any:  # a mapping; obstore has another type of it for each store
    """What is asked of the HTTP client. Given any of it, obstore no longer reads this variable itself."""
    return {**_PATIENCE, "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in _YES}


def _why(error: Exception) -> str:
    """What a store says of a failure, in a line: the word of its answer, or where there is none, what was tried."""
    if found := re.search(r"<Code>(\w{1,80})</Code>", str(error)):
        return found[1]
    return str(error).partition("\n")[0].strip()[:300]


def _name(digest: str) -> str:
    return f"assets/{digest[:2]}/{digest[2:]}"
