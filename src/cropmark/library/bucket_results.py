"""Stores the results of PixLab requests in an object store, which several servers can share.

PixLab's responses link to these images. Each result consists of two objects: a body, and a record with its metadata.
The record is written after the body and removed before it, so a result with a record is complete. Each request reads
the record from the store; the server has no index in memory. A periodic sweep removes expired results, then the oldest
results until the limits are met.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from cropmark.library.bucket import Bucket
from cropmark.library.results import (
    ID,
    STALE_PART_S,
    SWEEP_INTERVAL_S,
    ResultLimits,
    decode_record,
    encode_record,
    is_expired,
    storage_full,
)
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import Overloaded
from cropmark.ports import OpenSource, SourceVersion, StoredResult

log = structlog.get_logger("cropmark.results")

SETTING: Final = "pixlab_store"
_FOLDER: Final = "results"


class BucketResults:
    """A ports.ResultStore in an object store."""

    def __init__(self, bucket: Bucket, limits: ResultLimits, clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._limits = limits
        self._clock = clock
        self._sweeping: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls, url: str, limits: ResultLimits, *, role: bool = False, sweep_s: float = SWEEP_INTERVAL_S
    ) -> BucketResults:
        """Open the results in the bucket at a URL, and sweep them in the background. Raises LibraryUnavailable."""
        bucket = Bucket.from_url(url, SETTING, role=role)
        await asyncio.to_thread(bucket.check, _FOLDER, SETTING)
        results = cls(bucket, limits)
        results._sweeping = asyncio.create_task(results._sweep_forever(sweep_s))
        return results

    async def put(self, body: bytes | OpenSource, kind: Format, owner: str, comment: str = "") -> StoredResult:
        length = len(body) if isinstance(body, bytes) else body.bytes
        if length > self._limits.bytes:
            raise storage_full()
        now = self._clock()
        expires_s = now + self._limits.ttl_s if self._limits.ttl_s else None
        result = StoredResult(secrets.token_urlsafe(18), kind, length, owner, now, expires_s, comment)
        try:
            await asyncio.to_thread(self._write, result, body)
        except OSError as error:
            raise _unavailable() from error
        return result

    async def open(self, media_id: str) -> tuple[StoredResult, OpenSource] | None:
        try:
            result = await asyncio.to_thread(self._find, media_id)
            return None if result is None else (result, await asyncio.to_thread(self._fetch_body, result))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable() from error

    async def delete(self, media_id: str, owner: str) -> bool:
        try:
            result = await asyncio.to_thread(self._find, media_id)
            if result is None or result.owner != owner:
                return False
            await asyncio.to_thread(self._remove, [_record_path(media_id), _body_path(result)])
        except OSError as error:
            raise _unavailable() from error
        return True

    async def sweep(self) -> None:
        """Remove expired results, objects of unfinished results, and the oldest results if the limits are exceeded."""
        await asyncio.to_thread(self._sweep_objects)

    async def close(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _sweep_forever(self, pause_s: float) -> None:
        while True:
            with contextlib.suppress(OSError):  # Bucket has logged it
                await self.sweep()
            await asyncio.sleep(pause_s)

    # ------------------------------------------------------------------------------------------ in threads

    def _write(self, result: StoredResult, body: bytes | OpenSource) -> None:
        self._bucket.put(_body_path(result), body)
        self._bucket.put(_record_path(result.id), encode_record(result))

    def _find(self, media_id: str) -> StoredResult | None:
        if ID.fullmatch(media_id) is None:
            return None
        text = io.BytesIO()
        try:
            self._bucket.fetch(_record_path(media_id), text)
        except FileNotFoundError:
            return None
        result = decode_record(media_id, text.getvalue())
        return None if result is None or is_expired(result, self._clock()) else result

    def _fetch_body(self, result: StoredResult) -> OpenSource:
        with tempfile.TemporaryFile() as file:
            self._bucket.fetch(_body_path(result), file)
            descriptor = os.dup(file.fileno())
        return OpenSource.from_fd(
            descriptor, result.bytes, SourceVersion(f"result:{result.id}", result.id, versioned=True)
        )

    def _remove(self, paths: list[str]) -> None:
        for path in paths:
            self._bucket.remove(path)

    def _sweep_objects(self) -> None:
        groups = _group_by_result(self._bucket.objects(_FOLDER))
        removable = [group for group in groups if self._is_expired(group)]
        stored = [group for group in groups if group not in removable and group.record]
        stored_bytes = sum(group.bytes for group in stored)
        for index, group in enumerate(stored):
            if stored_bytes <= self._limits.bytes and len(stored) - index <= self._limits.entries:
                break
            stored_bytes -= group.bytes
            removable.append(group)
        for group in removable:
            self._remove([*group.record, *group.others])

    def _is_expired(self, group: _Group) -> bool:
        """True if the result is older than the TTL.

        A result without a record is unfinished. It expires after STALE_PART_S.
        """
        age_s = self._clock() - group.written_s
        if not group.record:
            return age_s > STALE_PART_S
        return bool(self._limits.ttl_s) and age_s > self._limits.ttl_s


@dataclass(frozen=True, slots=True)
class _Group:
    """The objects of one result.

    `record` has the path of the result's record, or is empty if the record is missing. `others` has the paths of all
    other objects. `written_s` is the Unix time at which the newest object was written.
    """

    written_s: float
    bytes: int
    record: tuple[str, ...]
    others: tuple[str, ...]


def _group_by_result(entries: list[dict[str, object]]) -> list[_Group]:
    """Group the objects by result. The oldest result is first."""
    by_id: dict[str, list[tuple[str, float, int]]] = {}
    for entry in entries:
        path, modified, size = str(entry["path"]), entry["last_modified"], entry["size"]
        assert isinstance(modified, datetime)
        assert isinstance(size, int)
        by_id.setdefault(path.rpartition("/")[2].partition(".")[0], []).append((path, modified.timestamp(), size))
    groups = [
        _Group(
            max(written for _, written, _ in objects),
            sum(size for _, _, size in objects),
            tuple(path for path, _, _ in objects if path.endswith(".json")),
            tuple(path for path, _, _ in objects if not path.endswith(".json")),
        )
        for objects in by_id.values()
    ]
    return sorted(groups, key=lambda group: group.written_s)


def _record_path(media_id: str) -> str:
    return f"{_FOLDER}/{media_id}.json"


def _body_path(result: StoredResult) -> str:
    return f"{_FOLDER}/{result.id}.{TRAITS[result.format].extension}"


def _unavailable() -> Overloaded:
    return Overloaded("the store of results is unavailable", fix="try again, or request blob=true", retry_after_s=10)
