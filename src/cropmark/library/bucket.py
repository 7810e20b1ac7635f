"""An object store (a bucket or a folder) by its URL, through obstore.

Endpoint and credentials come from the environment variables of the store's own tools: AWS_ENDPOINT, AWS_ACCESS_KEY_ID
and so on (docs/configuration.md).
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

from cropmark.library.errors import LibraryUnavailable
from cropmark.ports import OpenSource
from cropmark.runtime.reads import read_source, source_pieces

T = TypeVar("T")

log = structlog.get_logger("cropmark.library")

_SINGLE_PUT_BYTES: Final = 5 * 2**20
"""Largest single-request upload. Larger objects use multipart; the bucket's lifecycle rule removes incomplete parts."""
# A failing store gives up within ten seconds: a client waits, and so do the library's other writers. A large file that
# makes progress may take 10 minutes.
_RETRIES: Final[Any] = {
    "max_retries": 2,
    "retry_timeout": timedelta(seconds=6),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
}
_TIMEOUTS: Final[dict[str, Any]] = {"connect_timeout": "2s", "read_timeout": "5s", "timeout": "10m"}
_AZURE_CREDENTIALS: Final = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CLIENT_SECRET",
)
_GOOGLE_CREDENTIALS: Final = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
)
_CREDENTIALS: Final = {
    "s3": ("AWS_ACCESS_KEY_ID",),
    "s3a": ("AWS_ACCESS_KEY_ID",),
    "gs": _GOOGLE_CREDENTIALS,
    "az": _AZURE_CREDENTIALS,
    "adl": _AZURE_CREDENTIALS,
    "azure": _AZURE_CREDENTIALS,
    "abfs": _AZURE_CREDENTIALS,
    "abfss": _AZURE_CREDENTIALS,
}
"""One of these variables must be set. Without credentials, obstore requests them from the instance metadata address."""
_TRUE_WORDS: Final = ("1", "true", "yes", "on")
_FIX: Final = "check its name, AWS_ENDPOINT (AWS_ALLOW_HTTP=true for http://) and the keys: docs/configuration.md"


class Bucket:
    """Objects by their paths, each complete or absent.

    All calls block. Raises OSError if the store fails, FileNotFoundError for an absent object.
    """

    def __init__(self, store: Any) -> None:  # obstore has a type for each kind of store
        self._store = store

    @classmethod
    def from_url(cls, url: str, setting: str, *, role: bool = False) -> Bucket:
        """The store at `s3://bucket/prefix`, `gs://…`, `az://…` or `file:///folder`.

        `setting` is the setting that has the URL, for error messages. `role`: without credentials in the environment,
        use those of the instance (its metadata address). Raises LibraryUnavailable.
        """
        parts = urlsplit(url)
        keys = _CREDENTIALS.get(parts.scheme, ())
        if keys and not role and not any(os.environ.get(key) for key in keys):
            raise LibraryUnavailable(
                f"{setting}: no credentials for it in the environment",
                f"set {keys[0]} and the variables that belong to it, or set allow_instance_credentials = true",
            )
        try:
            if parts.scheme == "file":
                return cls(LocalStore(Path(unquote(parts.path)), mkdir=True))
            return cls(from_url(url, client_options=_client_options(), retry_config=_RETRIES))
        except Exception as error:
            raise LibraryUnavailable(
                f"{setting}: {_reason(error)}", "write s3://bucket/prefix or file:///folder"
            ) from error

    def check(self, folder: str, setting: str) -> None:
        """Raises LibraryUnavailable if the store cannot be reached or does not list the objects below `folder`."""
        try:
            next(iter(obstore.list(self._store, folder)), None)
        except BaseError as error:
            raise LibraryUnavailable(f"{setting} cannot be used: {_reason(error)}", _FIX) from error

    def put(self, path: str, body: bytes | OpenSource) -> None:
        content: bytes | Iterator[bytes] = body if isinstance(body, bytes) else source_pieces(body)
        if not isinstance(body, bytes) and body.bytes <= _SINGLE_PUT_BYTES:
            content = read_source(body)
        _call(lambda: obstore.put(self._store, path, content))

    def fetch(self, path: str, file: IO[bytes]) -> None:
        """Write the object into the file."""

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

    def objects(self, folder: str) -> list[Any]:  # the same mappings
        """The metadata of all objects below a path."""
        return _call(lambda: [entry for page in obstore.list(self._store, folder) for entry in page])


def _call(act: Callable[[], T]) -> T:
    """The value of `act`. Translates obstore's exceptions to FileNotFoundError and OSError."""
    try:
        return act()
    except NotFoundError as error:
        raise FileNotFoundError("no such object") from error
    except BaseError as error:
        log.warning("the object store failed", why=_reason(error))
        raise OSError(f"the object store failed: {_reason(error)}") from error


def _client_options() -> Any:  # a mapping; obstore has another type of it for each store
    """Options of obstore's HTTP client. If any is given, obstore ignores AWS_ALLOW_HTTP, so it is read here."""
    return {**_TIMEOUTS, "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in _TRUE_WORDS}


def _reason(error: Exception) -> str:
    """The reason for a failure in one line: the error code in the store's response, else the exception's first line."""
    if code := re.search(r"<Code>(\w{1,80})</Code>", str(error)):
        return code[1]
    return str(error).partition("\n")[0].strip()[:300]
