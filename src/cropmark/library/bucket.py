"""An object store by its URL, by obstore: a bucket, or a folder.

Where it is and the keys to it come from where its own tools have them: AWS_ENDPOINT, AWS_ACCESS_KEY_ID and their
companions in the environment (docs/configuration.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from cropmark.library.blobs import pieces
from cropmark.library.errors import LibraryUnavailable
from cropmark.ports import OpenSource

T = TypeVar("T")

log = structlog.get_logger("cropmark.library")

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
_AZURE: Final = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
)
_GOOGLE: Final = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
_KEYS: Final = {
    "s3": ("AWS_ACCESS_KEY_ID",),
    "s3a": ("AWS_ACCESS_KEY_ID",),
    "gs": _GOOGLE,
    "az": _AZURE,
    "adl": _AZURE,
    "azure": _AZURE,
    "abfs": _AZURE,
    "abfss": _AZURE,
}
"""One of these must be set. Without a key the library would ask the machine's metadata address for one."""
_YES: Final = ("1", "true", "yes", "on")
_MEND: Final = "check its name, AWS_ENDPOINT (AWS_ALLOW_HTTP=true for http://) and the keys: docs/configuration.md"


class Bucket:
    """Objects by their paths, each whole or not there.

    Trouble is told as OSError, an absent object as FileNotFoundError.
    """

    def __init__(self, store: Any) -> None:  # obstore has a type for each kind of store
        self._store = store

    @classmethod
    def at(cls, url: str, setting: str, *, role: bool = False) -> Bucket:
        """The store at `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///folder`.

        `role`: without a key in the environment the machine's own may be asked for. Raises LibraryUnusable.
        """
        parts = urlsplit(url)
        keys = _KEYS.get(parts.scheme, ())
        if keys and not role and not any(os.environ.get(key) for key in keys):
            raise LibraryUnavailable(
                f"{setting}: there is no key to it in the environment",
                f"set {keys[0]} and what belongs to it, or bucket_role = true to take the machine's own role",
            )
        try:
            if parts.scheme == "file":
                return cls(LocalStore(Path(unquote(parts.path)), mkdir=True))
            return cls(from_url(url, client_options=_client(), retry_config=_RETRIES))
        except Exception as error:
            raise LibraryUnavailable(
                f"{setting}: {_why(error)}", "write s3://bucket/prefix or file:///folder"
            ) from error

    def check(self, folder: str, setting: str) -> None:
        """Raises LibraryUnusable where the store cannot be reached, or does not let us see what it holds."""
        try:
            next(iter(obstore.list(self._store, folder)), None)
        except BaseError as error:
            raise LibraryUnavailable(f"{setting} cannot be used: {_why(error)}", _MEND) from error

    def put(self, path: str, body: bytes | OpenSource) -> None:
        sent: bytes | Iterator[bytes] = body if isinstance(body, bytes) else pieces(body)
        if not isinstance(body, bytes) and body.bytes <= _WHOLE:
            sent = b"".join(pieces(body))
        _told(lambda: obstore.put(self._store, path, sent))

    def fetch(self, path: str, file: IO[bytes]) -> None:
        """Write the object into the file."""

        def fetched() -> None:
            file.writelines(obstore.get(self._store, path).stream())
            file.flush()

        _told(fetched)

    def head(self, path: str) -> Any:  # obstore's mapping of what it knows of an object
        return _told(lambda: obstore.head(self._store, path))

    def remove(self, path: str) -> None:
        try:
            _told(lambda: obstore.delete(self._store, path))
        except FileNotFoundError:
            return

    def listed(self, folder: str) -> list[Any]:  # the same mappings
        """Of all objects below a path."""
        return _told(lambda: [one for some in obstore.list(self._store, folder) for one in some])


def _told(act: Callable[[], T]) -> T:
    """What the act returns; trouble with the store as OSError."""
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
