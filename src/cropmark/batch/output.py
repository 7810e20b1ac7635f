"""The folder or bucket of the results. Each result is written completely or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import obstore

from cropmark.runtime.atomic_file import write_with_umask
from cropmark.runtime.object_store import StoreTimes, open_store

TIMES: Final = StoreTimes(connect_s=5, read_s=30, total_s=120, max_retries=8, retry_s=60, max_pause_s=10)


class Output(Protocol):
    """The folder or bucket in which results are stored."""

    async def write(self, name: str, body: bytes, media_type: str) -> None:
        """Store a result in place of an older one. Raises STORE_ERRORS."""
        ...

    def present(self, names: Iterable[str]) -> set[str]:
        """Those of the `names` under which a result is stored. Raises STORE_ERRORS."""
        ...


def open_output(place: str, *, role: bool) -> Output:
    """The folder or bucket at the path or URL `place`. Does not connect to it.

    For `role`, see open_store(). Raises StoreUnusable.
    """
    if place.startswith("file://"):
        return FolderOutput(Path(unquote(urlsplit(place).path)))
    if "://" in place:
        return BucketOutput(open_store(place, "--out", TIMES, role=role))
    return FolderOutput(Path(place))


class FolderOutput:
    """Stores results as files in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def write(self, name: str, body: bytes, media_type: str) -> None:
        del media_type  # a file's name has its type
        await asyncio.to_thread(self._write, name, body)

    def _write(self, name: str, body: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_with_umask(path, body)

    def present(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if (self._root / name).is_file()}


class BucketOutput:
    """Stores results as objects below the prefix of a bucket, with their media type."""

    def __init__(self, store: Any) -> None:
        self._store = store

    async def write(self, name: str, body: bytes, media_type: str) -> None:
        await obstore.put_async(self._store, name, body, attributes={"Content-Type": media_type})

    def present(self, names: Iterable[str]) -> set[str]:
        # All objects are listed: a response has a thousand, but a question for one name would be a request of its own.
        stored = {meta["path"] for page in obstore.list(self._store) for meta in page}
        return stored.intersection(names)
