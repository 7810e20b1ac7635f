"""Reads and writes the objects of an object store such as S3. All calls block; the library makes them in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any, Final, TypeVar

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError

from cropmark.library.errors import LibraryUnavailable
from cropmark.ports import OpenSource
from cropmark.runtime.object_store import StoreTimes, StoreUnusable, failure_reason, open_store
from cropmark.runtime.reads import read_source, source_pieces

T = TypeVar("T")

log = structlog.get_logger("cropmark.library")

_SINGLE_PUT_BYTES: Final = 5 * 2**20
"""Largest single-request upload. Larger objects use multipart; the bucket's lifecycle rule removes incomplete parts."""
# A failing store gives up within ten seconds: a client waits, and so do the library's other writers. A large file that
# makes progress may take 10 minutes.
_TIMES: Final = StoreTimes(connect_s=2, read_s=5, total_s=600, max_retries=2, retry_s=6)
_FIX: Final = "check its name, AWS_ENDPOINT (AWS_ALLOW_HTTP=true for http://) and the keys: docs/configuration.md"


class Bucket:
    """The objects of an object store, addressed by path. An object is complete or absent.

    All calls block. They raise FileNotFoundError for an absent object, and OSError if the store fails.
    """

    def __init__(self, store: Any) -> None:  # obstore has a type for each kind of store
        self._store = store

    @classmethod
    def from_url(cls, url: str, setting: str, *, role: bool = False) -> Bucket:
        """Open the bucket at a URL: `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///folder`.

        `setting` is the setting that contains the URL; error messages name it. If the environment has no credentials
        and `role` is true, the credentials of the cloud instance are used. Raises LibraryUnavailable.
        """
        try:
            return cls(open_store(url, setting, _TIMES, role=role))
        except StoreUnusable as error:
            raise LibraryUnavailable(error.what, error.fix) from error

    def check(self, folder: str, setting: str) -> None:
        """Check that the store can be reached and lists the objects below `folder`. Raises LibraryUnavailable."""
        try:
            next(iter(obstore.list(self._store, folder)), None)
        except BaseError as error:
            raise LibraryUnavailable(f"{setting} cannot be used: {failure_reason(error)}", _FIX) from error

    def put(self, path: str, body: bytes | OpenSource) -> None:
        content: bytes | Iterator[bytes] = body if isinstance(body, bytes) else source_pieces(body)
        if not isinstance(body, bytes) and body.bytes <= _SINGLE_PUT_BYTES:
            content = read_source(body)
        _call(lambda: obstore.put(self._store, path, content))

    def fetch(self, path: str, file: IO[bytes]) -> None:
        """Download the object into the file."""

        def download() -> None:
            file.writelines(obstore.get(self._store, path).stream())
            file.flush()

        _call(download)

    def head(self, path: str) -> Any:  # obstore's mapping: path, size, last_modified, …
        return _call(lambda: obstore.head(self._store, path))

    def remove(self, path: str) -> None:
        try:
            _call(lambda: obstore.delete(self._store, path))
        except FileNotFoundError:
            return

    def objects(self, folder: str) -> list[Any]:  # obstore's mappings, as head() returns
        """The metadata of all objects below `folder`."""
        return _call(lambda: [entry for page in obstore.list(self._store, folder) for entry in page])


def _call(act: Callable[[], T]) -> T:
    """Call `act` and return its value. Translates obstore's exceptions to FileNotFoundError and OSError."""
    try:
        return act()
    except NotFoundError as error:
        raise FileNotFoundError("no such object") from error
    except BaseError as error:
        log.warning("the object store failed", why=failure_reason(error))
        raise OSError(f"the object store failed: {failure_reason(error)}") from error
